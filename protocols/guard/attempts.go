package guard

import (
	"bytes"
	"strconv"
)

const (
	// ownersTries are left to the camera's owner: when a camera says that no
	// more than these remain until it locks, no login is tried that has not
	// worked before. Lockouts strike the owner's own browser too.
	ownersTries = 2

	// maxReasonBytes of an answer are read for what it says of logins; the
	// documents that say something are below 1 KiB.
	maxReasonBytes = 8 << 10
)

// LoginState is what a camera's refusal says of further logins.
type LoginState struct {
	Told bool // the camera counts, and says how many tries are left
	Left int  // until it locks
	Lock bool // it is locked
}

// Spare reports whether tries are too few for one that may fail.
func (s LoginState) Spare() bool { return s.Lock || s.Told && s.Left <= ownersTries }

// ReadLoginState reads a refusal for what cameras say of further logins: the
// userCheck document of ISAPI (lockStatus, retryLoginTime), and sentences such
// as "You still have 5 attempt(s)" in faults. What it does not know it leaves.
func ReadLoginState(body []byte) LoginState {
	b := bytes.ToLower(body[:min(len(body), maxReasonBytes)])
	var s LoginState
	s.Lock = bytes.Contains(b, []byte("<lockstatus>lock</lockstatus>"))
	if i := bytes.Index(b, []byte("retrylogintime")); i >= 0 {
		s.Left, s.Told = firstNumber(b[i+len("retrylogintime"):], 8)
	}
	// A number up to a few words before "attempt", or behind "attempts left".
	for at := b; !s.Told; {
		i := bytes.Index(at, []byte("attempt"))
		if i < 0 {
			break
		}
		if s.Left, s.Told = numberBefore(at[:i]); !s.Told {
			rest := at[i+len("attempt"):]
			if near := rest[:min(len(rest), 32)]; bytes.Contains(near, []byte("left")) || bytes.Contains(near, []byte("remain")) || bytes.Contains(at[max(0, i-12):i], []byte("remaining")) {
				s.Left, s.Told = firstNumber(rest, 32)
			}
		}
		at = at[i+len("attempt"):]
	}
	if s.Told && s.Left == 0 {
		s.Lock = true
	}
	return s
}

// firstNumber reads the first number that begins within the bytes given.
func firstNumber(b []byte, within int) (int, bool) {
	for i := 0; i < len(b) && i < within; i++ {
		if isDigit(b[i]) {
			return number(b[i:])
		}
	}
	return 0, false
}

// numberBefore reads the number that ends b, but for "more", "login" and the
// like. The word before tells: "after 5 attempts" is a rule, not a count.
func numberBefore(b []byte) (int, bool) {
	words := bytes.FieldsFunc(b[max(0, len(b)-48):], func(r rune) bool {
		return r == ' ' || r == '\t' || r == '\n' || r == '\r' || r == '>' || r == ':' || r == '"' || r == '('
	})
	for i := len(words) - 1; i >= 0 && i >= len(words)-3; i-- {
		w := string(words[i])
		switch w {
		case "more", "login", "remaining", "further", "password":
			continue
		}
		if !isDigit(w[0]) {
			return 0, false
		}
		n, ok := number(words[i])
		if !ok || len(words[i]) != len(strconv.Itoa(n)) {
			return 0, false
		}
		if i > 0 && (string(words[i-1]) == "after" || string(words[i-1]) == "of" || string(words[i-1]) == "maximum") {
			return 0, false
		}
		return n, true
	}
	return 0, false
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// number reads up to four digits: no camera grants more tries.
func number(b []byte) (int, bool) {
	n, i := 0, 0
	for ; i < len(b) && isDigit(b[i]); i++ {
		if i == 4 {
			return 0, false
		}
		n = 10*n + int(b[i]-'0')
	}
	return n, i > 0
}
