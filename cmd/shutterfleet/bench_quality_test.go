package main

import (
	"bytes"
	"testing"
)

// TestBenchQualityUsage: the bench itself is tested without the race detector,
// under which two scenes take two minutes.
func TestBenchQualityUsage(t *testing.T) {
	for _, args := range [][]string{{"--scenes", "0"}, {"--half", "best"}, {"--codec", "h266"}, {"-o", "xml"}} {
		var out, stderr bytes.Buffer
		if code := run(t.Context(), append([]string{"bench", "quality"}, args...), &out, &stderr); code != 2 || out.Len() > 0 || stderr.Len() == 0 {
			t.Errorf("%v: exit %d, %s", args, code, stderr.String())
		}
	}
}
