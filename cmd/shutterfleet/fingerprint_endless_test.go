//go:build !race

package main

import (
	"strings"
	"testing"
)

// TestFingerprintEndlessNothing: of what never becomes a picture no more is read
// than a picture may have.
func TestFingerprintEndlessNothing(t *testing.T) {
	in := &endless{first: []byte{0}, again: make([]byte, 1<<20)}
	if _, err := readPicture(in); err == nil || !strings.Contains(err.Error(), "256 MB: cut a piece out of it first") {
		t.Errorf("after %d bytes: %v", in.read, err)
	}
}
