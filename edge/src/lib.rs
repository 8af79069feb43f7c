//! The cache node: HTTP/1.1, HTTP/2 and HTTP/3 in front of any origin.
