package lan

import "net"

// ParseMAC reads a MAC as devices write it, with any separator or none, and
// returns it in lower case with colons. Addresses that stand for none or for
// all are no MAC.
func ParseMAC(s string) (string, bool) {
	if len(s) == 12 {
		s = s[:2] + ":" + s[2:4] + ":" + s[4:6] + ":" + s[6:8] + ":" + s[8:10] + ":" + s[10:]
	}
	hw, err := net.ParseMAC(s)
	if err != nil || !honest(hw) {
		return "", false
	}
	return hw.String(), true
}

// honest reports whether hw can be the address of one device: six bytes, not
// all zero, and no group (IEEE 802, the lowest bit of the first byte).
func honest(hw net.HardwareAddr) bool {
	if len(hw) != 6 || hw[0]&1 != 0 {
		return false
	}
	for _, b := range hw {
		if b != 0 {
			return true
		}
	}
	return false
}
