"""``benchmarks/gpu.sh``: everything there is to measure on a machine with a CUDA GPU.

A part is a list of stages. Each stage is a program of its own with a time limit: one that fails or
hangs is ended and reported, and the next one begins. ``stages`` says what is measured, ``runner``
runs it, ``table`` puts it in words; the other modules are stages that no benchmark covers.
"""
