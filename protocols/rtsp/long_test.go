//go:build long

package rtsp_test

import "testing"

// Ten thousand grabs that fail leave nothing behind.
func TestLongCycles(t *testing.T) { cycles(t, 10_000) }

// Two thousand at a time hold no more each than five hundred do.
func TestLongWaiting(t *testing.T) {
	per := wait(t, keyless(t), 2000)
	t.Logf("%d B for each of 2000 waiting connections", per)
	if per > mostPerWaiting {
		t.Errorf("a waiting connection holds %d B, want at most %d", per, mostPerWaiting)
	}
}
