"""Which versions of the store are needed, damaged or old. The commands that call this: lifecycle/store.py."""
