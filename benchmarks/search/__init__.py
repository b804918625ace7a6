"""The search for the highest rate that keeps the objectives: bracket, verdict on a stage, and the two at work. In the command's process.

May import `load` (facts of a stage) and what lies below it.
"""
