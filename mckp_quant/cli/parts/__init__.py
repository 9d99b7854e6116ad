"""The command for measurements that are spread over several processes, and how they find each other."""
