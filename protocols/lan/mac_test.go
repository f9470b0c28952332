package lan

import "testing"

func TestParseMAC(t *testing.T) {
	for in, want := range map[string]string{
		"ACCC8E010203": "ac:cc:8e:01:02:03", "ac-cc-8e-01-02-03": "ac:cc:8e:01:02:03", "accc.8e01.0203": "ac:cc:8e:01:02:03",
		"AC:CC:8E:01:02:03": "ac:cc:8e:01:02:03", "": "", "00:00:00:00:00:00": "", "ff:ff:ff:ff:ff:ff": "", "01:00:5e:00:00:fb": "",
		"ac:cc:8e:01:02": "", "ac:cc:8e:ff:fe:01:02:03": "", "camera": "", "zzzzzzzzzzzz": "",
	} {
		if got, ok := ParseMAC(in); got != want || ok != (want != "") {
			t.Errorf("ParseMAC(%q) = %q, %v; want %q", in, got, ok, want)
		}
	}
}
