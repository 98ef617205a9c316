"""Memory of the machine, the C library's allocator, and progress reports."""
