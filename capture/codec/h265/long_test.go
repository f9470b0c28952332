//go:build long

package h265_test

import "testing"

func TestLongMissing(t *testing.T) { tearAll(t, 14, 12) }
