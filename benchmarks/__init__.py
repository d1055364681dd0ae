"""Each benchmark runs us and a peer in turn, same machine, data and model, and prints ratios.

`python -m benchmarks.NAME`. Timings are never a test's pass or fail.
"""
