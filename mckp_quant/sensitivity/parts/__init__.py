"""A measurement spread over several processes, with or without `torch.distributed`, and put together again."""
