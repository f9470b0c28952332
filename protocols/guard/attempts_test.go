package guard

import "testing"

// loginStates serves the test and seeds the fuzzer. The sentences are those of
// public reports: agsh/onvif 112, home-assistant/core 147404.
var loginStates = []struct {
	text string
	want LoginState
}{
	{"", LoginState{}},
	{"Sender not Authorized. Invalid username or password! You still have 26 attempt(s).", LoginState{Told: true, Left: 26}},
	{"Sender not Authorized. Invalid username or password! You still have 5 attempt(s).", LoginState{Told: true, Left: 5}},
	{"You still have 0 attempt(s)", LoginState{Told: true, Lock: true}},
	{"3 more login attempts", LoginState{Told: true, Left: 3}},
	{"Attempts left: 2", LoginState{Told: true, Left: 2}},
	{"remaining attempts=1", LoginState{Told: true, Left: 1}},
	{"The account is locked after 5 attempts", LoginState{}},
	{"too many failed attempts", LoginState{}},
	{"an attempt at 10:00", LoginState{}},
	{"99999 attempts", LoginState{}},
	{"<userCheck><statusValue>401</statusValue><lockStatus>unlock</lockStatus><retryLoginTime>4</retryLoginTime></userCheck>", LoginState{Told: true, Left: 4}},
	{"<userCheck><lockStatus>lock</lockStatus><unlockTime>1658</unlockTime></userCheck>", LoginState{Lock: true}},
	{`{"retryLoginTime": 2}`, LoginState{Told: true, Left: 2}},
}

func TestReadLoginState(t *testing.T) {
	for _, c := range loginStates {
		if got := ReadLoginState([]byte(c.text)); got != c.want {
			t.Errorf("ReadLoginState(%q) = %+v, want %+v", c.text, got, c.want)
		}
	}
}

func FuzzReadLoginState(f *testing.F) {
	for _, c := range loginStates {
		f.Add([]byte(c.text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s := ReadLoginState(b)
		if s.Left < 0 || s.Left > 9999 || !s.Told && s.Left != 0 {
			t.Errorf("%+v of %q", s, b)
		}
	})
}
