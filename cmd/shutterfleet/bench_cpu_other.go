//go:build !linux

package main

import "syscall"

const rusageOwn = syscall.RUSAGE_SELF
