package h264

import "testing"

// TestCodesAreComplete holds the tables of code words against what makes a code:
// no word begins another, and no bits are left that begin none, but for those
// that the standard leaves free.
func TestCodesAreComplete(t *testing.T) {
	check := func(name string, codes []code, free int) {
		t.Helper()
		used := make([]int, 1<<16)
		for _, c := range codes {
			if c.n == 0 {
				continue
			}
			for i := range 1 << (16 - c.n) {
				used[int(c.v)<<(16-c.n)+i]++
			}
		}
		left := 0
		for i, n := range used {
			if n > 1 {
				t.Errorf("%s: %d words begin with %016b", name, n, i)
				return
			}
			left += 1 - n
		}
		if left != free {
			t.Errorf("%s: %d of 65536 are free, want %d", name, left, free)
		}
	}
	for i, free := range [4]int{2, 8, 64, 0} { // those that begin with so many zeros
		var all []code
		for _, row := range tokenCodes[i] {
			all = append(all, row[:]...)
		}
		check("coeff_token", all, free)
	}
	for i, codes := range zerosCodes {
		free := 0
		if i == 0 {
			free = 128
		}
		check("total_zeros", codes, free)
	}
	for _, codes := range zerosChromaCodes {
		check("total_zeros of chroma DC", codes, 0)
	}
	for _, codes := range runCodes {
		check("run_before", codes, 0)
	}
}
