"""The KV cache beside the weights, as options of measure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...common.checks import check_count
from ...errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import nn

    from ...common.run_options import RunOptions
    from ...network.outputs import Outputs
    from ...tables.table import SensitivityTable

PANEL = "KV cache"


@dataclass(frozen=True)
class KvCacheOptions:
    """Which formats keys and values are measured in, and how much the cache is to hold."""

    kv_cache: Annotated[
        str | None,
        typer.Option(
            "--kv-cache",
            metavar="FORMAT,FORMAT",
            rich_help_panel=PANEL,
            help="Also measure keys and values of every attention: kv16, kv8, kv4, kv2, kv_fp8.",
        ),
    ] = None
    kv_tokens: Annotated[
        int | None,
        typer.Option("--kv-tokens", rich_help_panel=PANEL, help="Tokens of a sequence that the cache is to hold."),
    ] = None
    kv_sequences: Annotated[
        int, typer.Option("--kv-sequences", rich_help_panel=PANEL, help="Sequences that it is to hold.")
    ] = 1

    def check(self, part: str | None) -> None:
        """Refuse what cannot be used, before any work; raises InvalidInput."""
        from ...formats.cache_formats import cache_formats

        if self.kv_cache is None:
            if self.kv_tokens is not None:
                raise InvalidInput("--kv-tokens is given without --kv-cache: name formats, such as --kv-cache kv8,kv4")
            return
        cache_formats(self.kv_cache)
        if self.kv_tokens is None:
            raise InvalidInput("--kv-cache needs --kv-tokens: how many tokens of a sequence the cache is to hold")
        check_count("--kv-tokens", self.kv_tokens, 1)
        check_count("--kv-sequences", self.kv_sequences, 1)
        if part is not None:
            raise InvalidInput("--kv-cache cannot be measured in parts: leave --part out, or measure the weights alone")

    def added(
        self, table: SensitivityTable, network: nn.Module, batches: Iterable[Any], outputs: Outputs, run: RunOptions
    ) -> SensitivityTable:
        """The table with rows for keys and values, where they are asked for."""
        if self.kv_cache is None or self.kv_tokens is None:
            return table
        from ...sensitivity.caches.kv_cache import measure_kv_cache, with_kv_cache

        caches = measure_kv_cache(
            network,
            batches,
            context=self.kv_tokens,
            sequences=self.kv_sequences,
            formats=self.kv_cache,
            outputs=outputs,
            run=run,
        )
        return with_kv_cache(table, caches)
