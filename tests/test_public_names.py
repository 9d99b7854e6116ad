"""The public names, room by room: whoever adds or renames one changes this table, and says so in CHANGELOG.md."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from types import ModuleType

import pytest

import mckp_quant

TABLE = """
mckp_quant: Activation ActivationRanges Allocation CalibrationSet Comparison Confirmation Constraints Conversion
    CostTable Evaluation Finished Format Front Gptq Index Interactions InvalidInput Layer Learned Nearest Outputs
    Plan Policy Quantized Recipe Refinement Request RunOptions Selection SensitivityTable Smallest Stability
    Validation WeightBank __version__ allocate allocate_each allocate_with_interactions apply build calibrate_ranges
    check_stability check_table compare_solvers confirm_table evaluate find_ties finish front measure
    measure_interactions measure_kv_cache merge plan quantize read_table refine round_weights select smallest
    validate with_kv_cache write_table
allocation: Allocation Comparison Constraints Conversion Index Request allocate allocate_each build chain
    compare_solvers find_ties shared_inputs
allocation.constraints: Constraints Conversion chain shared_inputs
bench: BenchProblem FAMILIES Measured RESULTS_FILE Results problems_of read_results run_bench write_page
cli: main
common: Progress RunOptions
costs: Budget RESOURCES Resource VARIANTS active_costs
demo: calibration held_out model
evaluation: Evaluation Evaluator Validation apply evaluate validate
export: Audit CompressedTensors ConfigurationOnly Contents ExportMismatch ExportReport Exporter FileSize FileTooLarge
    Gguf HuggingFace Job Json LayerRecord OnnxRuntime OnnxRuntimeNBits Stored StoredLayer Torchao audit available
    configuration contents export read_policy with_file_size
formats: ActivationRanges ActivationScheme Capability Format Grid Scheme TARGETS WeightScheme as_formats grid_of
    menu scheme_of
interactions: Interactions allocate_with_interactions measure_interactions
network: Batch LIKELIHOODS Likelihood Outputs as_batches discover load_model load_tokenizer text_batches
    trace_activations
onnx_models: OnnxNetwork judged load_onnx read_inputs without_guesses
pipeline: CalibrationSet Candidate DataEntry Decision Quantized Recipe Settings quantize
network.likelihoods: Bernoulli Categorical Gaussian Head LIKELIHOODS Several
policy: Policy Prediction predict
refinement: Confirmation Refinement Rounds confirm_table refine
rounding: EncodedWeight Gptq Importance ImportanceMatrix Learned Nearest ROUNDERS WeightBank Weights
    calibrate_ranges decode_weight encode_weight quantize round_weights
rounding.rounders: Gptq Importance Learned Nearest ROUNDERS rounder_named
rounding.transforms: fold_batch_norms scale_inputs
search: Differentiable EMQ EvoQ FITNESS Found LevelSwitch METHODS Method MethodResult Progressive RandomPolicies
    SEARCHES Task run_method search
sensitivity: DataFreeEstimator ESTIMATORS EmpiricalFisher Estimator FirstOrder GaussNewton HessianForm HutchPlusPlus
    Hutchinson HutchinsonBlockwise MeasuredKL MeasuredLoss Metric Passes Plan SQNR WeightMSE
    measure measure_kv_cache merge plan with_kv_cache
sensitivity.estimators: ESTIMATORS EmpiricalFisher FirstOrder GaussNewton HessianForm HutchPlusPlus Hutchinson
    HutchinsonBlockwise MeasuredKL MeasuredLoss Metric SQNR WeightMSE
solvers: Answer Certificate CpSat Enumerate Evolve Exact Explanation Front Greedy Highs InvalidInput InvalidProblem
    LeastCost Monotone NoSolution PackageMissing Pairs Pairwise Problem Pulp Relax Resolved Rows Scip SearchProgress
    Shortfall Solution Solver SolverFailure SolverUnavailable Status Worth available best_choices explain front
    is_compiled k_best least_cost read_problem resolve solve solve_many write_problem
stability: Stability check_stability check_table
tables: CostTable Finding Handling Imported Place Published SensitivityTable cap_losses read_activations read_costs
    read_table read_traces schema table_from_arrays table_from_records table_to_frame write_table
timing: Check Clocking Timing time_layers time_network
trade_off: Explained Front Measured Point Selection Smallest explain front k_best select smallest
tuning: Decided FineTuned Finished Matched finetune finish match_features validate_finished
report: ReportData report_data weight_front write_report
report.page: ReportData report_data weight_front write_report
report.plots: draw_agreement draw_front draw_policy draw_search draw_sensitivities draw_stability
"""
OLD = {  # names that went away: what their error says
    "Structure": "mckp_quant.Constraints",
    "interactions": "mckp_quant.measure_interactions",
    "stability": "mckp_quant.check_stability",
    "with_interactions": "mckp_quant.allocate_with_interactions",
}


def read(table: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for room, names in re.findall(r"^([\w.]+): ((?:.|\n    )*)", table, re.MULTILINE):
        found["mckp_quant" if room == "mckp_quant" else f"mckp_quant.{room}"] = set(names.split())
    return found


PUBLIC = read(TABLE)


def test_the_table_holds_every_package_that_has_public_names() -> None:
    packages = [each.name for each in pkgutil.walk_packages(mckp_quant.__path__, "mckp_quant.") if each.ispkg]
    having = {name for name in ["mckp_quant", *packages] if hasattr(importlib.import_module(name), "__all__")}
    assert having == set(PUBLIC)


@pytest.mark.parametrize("package", PUBLIC)
def test_public_names_are_those_of_the_table_and_documented(package: str) -> None:
    module = importlib.import_module(package)
    assert set(module.__all__) == PUBLIC[package]
    assert len(module.__all__) == len(set(module.__all__))
    for name in module.__all__:
        found = getattr(module, name)
        assert not isinstance(found, ModuleType), f"{package}.{name} is a module"
        if inspect.isclass(found) or inspect.isfunction(found):
            assert found.__doc__, f"{package}.{name} has no docstring"


def test_public_names_survive_the_import_of_every_module() -> None:
    before = {
        (package, name): getattr(importlib.import_module(package), name)
        for package in PUBLIC
        for name in PUBLIC[package]
    }
    for each in pkgutil.walk_packages(mckp_quant.__path__, "mckp_quant."):
        importlib.import_module(each.name)
    for (package, name), found in before.items():
        assert getattr(importlib.import_module(package), name) is found, f"{package}.{name}"


@pytest.mark.parametrize("old", OLD)
def test_a_name_that_went_away_says_the_new_one(old: str) -> None:
    with pytest.raises(AttributeError, match=re.escape(f"mckp_quant.{old} is now {OLD[old]}")):
        mckp_quant.__getattr__(old)
