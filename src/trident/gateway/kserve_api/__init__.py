"""KServe v2 and Triton's generate extension, over HTTP and gRPC, and the plain forms of `/generate`."""
