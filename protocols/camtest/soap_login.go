package camtest

import (
	"crypto/sha1"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"strings"
	"time"
)

// enter asks for the login that the camera wants, and answers when it does not
// let in.
func (s *soapService) enter(rw http.ResponseWriter, r *http.Request, t *usernameToken) bool {
	v := s.authorize(r, t)
	if v == rightLogin {
		return true
	}
	reason, status := "Sender not authorized", http.StatusUnauthorized
	switch v {
	case staleLogin:
		reason = "the nonce is too old"
	case wrongLogin:
		reason += s.c.triesLeft()
	}
	if s.c.Login == LoginToken || s.c.Login == LoginAny && v == wrongLogin && t != nil {
		status = http.StatusBadRequest // as most cameras answer a wrong token
	} else {
		rw.Header().Set("WWW-Authenticate", s.web.challenge(v == staleLogin))
	}
	s.fault(rw, status, "SOAP-ENV:Sender", "ter:NotAuthorized", reason)
	return false
}

// authorize takes a WS-UsernameToken or, without one, an HTTP login, as far as
// the camera knows them.
func (s *soapService) authorize(r *http.Request, t *usernameToken) verdict {
	v := noLogin
	switch {
	case t != nil && (s.c.Login == LoginAny || s.c.Login == LoginToken):
		if v = wrongLogin; s.token(t) {
			v = rightLogin
		}
	case s.c.Login != LoginToken:
		v = s.web.check(r)
	}
	if (v == rightLogin || v == wrongLogin) && !s.c.login(v == rightLogin) {
		return wrongLogin
	}
	return v
}

// token checks a UsernameToken with PasswordDigest: base64(sha1(nonce +
// created + password)), created by the camera's clock and the nonce used once.
func (s *soapService) token(t *usernameToken) bool {
	nonce, err := base64.StdEncoding.DecodeString(strings.TrimSpace(t.Nonce))
	if err != nil || len(nonce) == 0 || !strings.HasSuffix(t.Password.Type, "#PasswordDigest") || t.Username != s.c.User {
		return false
	}
	createdText := strings.TrimSpace(t.Created)
	created, err := time.Parse(time.RFC3339Nano, createdText)
	now := s.c.now()
	if err != nil || now.Sub(created).Abs() > maxTokenSkew {
		return false
	}
	h := sha1.New()
	h.Write(nonce)
	h.Write([]byte(createdText + s.c.password().Reveal()))
	want := base64.StdEncoding.EncodeToString(h.Sum(nil))
	if subtle.ConstantTimeCompare([]byte(want), []byte(strings.TrimSpace(t.Password.Value))) != 1 {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for n, at := range s.nonces {
		if now.Sub(at).Abs() > 2*maxTokenSkew {
			delete(s.nonces, n)
		}
	}
	if _, replayed := s.nonces[string(nonce)]; replayed || len(s.nonces) >= maxNonces {
		return false
	}
	s.nonces[string(nonce)] = created
	return true
}
