"""The reference client, sync and async, over one sans-IO flow."""
