package main

import "golang.org/x/sys/unix"

// rusageOwn counts the calling thread alone: the runtime's other threads spin
// for a while whenever a collection has ended.
const rusageOwn = unix.RUSAGE_THREAD
