"""Memory and limits of this process, the C library's allocator, programs that hang."""
