//go:build long

package h264_test

import "testing"

// TestLongParity is TestParity for many more pictures, and for large ones.
func TestLongParity(t *testing.T) {
	small := [][2]int{{16, 16}, {48, 32}, {66, 50}, {176, 144}, {352, 288}, {426, 240}, {640, 360}, {704, 576}, {1000, 562}}
	parity(t, recipes(2, 480, small), 24)
	large := [][2]int{{1280, 720}, {1920, 1080}, {2560, 1440}, {2592, 1944}, {3840, 2160}, {4096, 2176}}
	parity(t, recipes(3, 72, large), 6)
}
