package guard

import (
	"net"
	"slices"
	"strings"
)

// maxTextBytes bounds every name that a camera gives itself.
const maxTextBytes = 128

// CleanText makes what a camera says of itself fit to show: valid UTF-8 in one
// line, without control characters, of at most 128 bytes.
func CleanText(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > maxTextBytes {
		s = strings.ToValidUTF8(s[:maxTextBytes], "")
	}
	return s
}

// CleanMAC returns a hardware address in lower case with colons, or nothing for
// what tells no device from another.
func CleanMAC(s string) string {
	s = strings.TrimSpace(s)
	if len(s) == 12 {
		s = s[:2] + ":" + s[2:4] + ":" + s[4:6] + ":" + s[6:8] + ":" + s[8:10] + ":" + s[10:]
	}
	m, err := net.ParseMAC(s)
	if err != nil || len(m) != 6 || m[0]&1 != 0 || slices.Equal(m, make(net.HardwareAddr, 6)) {
		return ""
	}
	return m.String()
}
