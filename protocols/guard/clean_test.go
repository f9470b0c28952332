package guard_test

import (
	"strings"
	"testing"

	"github.com/shutterfleet/shutterfleet/protocols/guard"
)

func TestCleanMAC(t *testing.T) {
	for in, want := range map[string]string{
		"AC-CC-8E-01-02-03": "ac:cc:8e:01:02:03", "accc8e010203": "ac:cc:8e:01:02:03", " 02:aa:bb:cc:dd:ee ": "02:aa:bb:cc:dd:ee",
		"00:00:00:00:00:00": "", "ff:ff:ff:ff:ff:ff": "", "01:00:5e:00:00:01": "", "": "", "x": "", "ac:cc:8e:01:02:03:04:05": "",
	} {
		if got := guard.CleanMAC(in); got != want {
			t.Errorf("CleanMAC(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestCleanText(t *testing.T) {
	for in, want := range map[string]string{
		" Gate\t1\r\n": "Gate 1", "a\x00b\x7f": "a b", "\xff\xfeok": "ok", strings.Repeat("ä", 100): strings.Repeat("ä", 64),
	} {
		if got := guard.CleanText(in); got != want {
			t.Errorf("CleanText(%q) = %q, want %q", in, got, want)
		}
	}
}
