//go:build !linux

package joblog

import "os"

func startWriting(*os.File) {}
