// Package s3server is the module of the S3-compatible server that tests run: Versity S3 Gateway, which checks
// signatures, presigned addresses and parts as S3 does, and keeps objects as files.
//
// It is a module of its own so that the server's modules stay out of ours. Package s3test builds it, in some
// 75 seconds of processor time at first, and keeps the binary in the user's cache.
package s3server
