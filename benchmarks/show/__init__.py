"""What a person sees of a benchmark: live view and table in the command's process, the web page in the load process.

May import `load` and what lies below it.
"""
