package codec

import "golang.org/x/sys/cpu"

// addLanes adds as many samples of a row to the lanes as a vector loop can, and
// returns how many that were.
func addLanes(lanes []uint64, row []byte, weight uint64) int {
	n := len(row) / 16 * 16
	if n == 0 || !cpu.X86.HasAVX2 {
		return 0
	}
	_ = lanes[n/4-1]
	columnsAVX2(&lanes[0], &row[0], weight, n)
	return n
}

// columnsAVX2 does n samples, a multiple of 16 and not 0.
//
//go:noescape
func columnsAVX2(lanes *uint64, row *byte, weight uint64, n int)
