package scheduler

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// newSeal returns AES-256-GCM under the key.
func newSeal(key [32]byte) (cipher.AEAD, error) {
	if key == ([32]byte{}) {
		return nil, errors.New("scheduler: a seal key is needed to keep camera passwords")
	}
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// sealed encrypts a password; what it belongs to is authenticated with it, so
// that a row cannot be moved to another camera.
func (s *Scheduler) sealed(p fleet.Secret, id string) []byte {
	return s.seal.Seal(nil, nil, []byte(p.Reveal()), []byte(id))
}

func (s *Scheduler) unseal(b []byte, id string) (fleet.Secret, error) {
	p, err := s.seal.Open(nil, nil, b, []byte(id))
	if err != nil {
		return "", fmt.Errorf("credentials %s cannot be decrypted: was secrets.key replaced?", id)
	}
	return fleet.Secret(p), nil
}

// newID returns a prefix with 65 random bits' worth of base32 text.
func newID(prefix string) string {
	var b [8]byte
	rand.Read(b[:]) //nolint:errcheck // crypto/rand.Read never fails
	return prefix + "-" + strings.ToLower(base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))
}

func newCameraID() fleet.CameraID {
	var b [8]byte
	rand.Read(b[:]) //nolint:errcheck // crypto/rand.Read never fails
	return fleet.CameraID(binary.BigEndian.Uint64(b[:]))
}
