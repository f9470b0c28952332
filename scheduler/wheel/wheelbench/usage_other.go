//go:build !unix

package wheelbench

import "time"

// cpu returns the time passed where CPU time is not to be had: on a quiet
// machine they differ little for work in one goroutine.
func cpu() time.Duration { return time.Duration(time.Now().UnixNano()) }
