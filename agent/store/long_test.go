//go:build long

package store_test

import "testing"

func TestLongNothingFinishedIsLostInHundredPowerCuts(t *testing.T) { powerCuts(t, 100) }
