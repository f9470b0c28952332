package rtsp

import (
	"bytes"

	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/sdp"
)

// maxMedias bounds how many medias of a description are looked at one by one.
const maxMedias = 64

// mend returns a stream's description (RFC 4566) without what the library
// refuses all of it for: cameras write parameter sets that are no base64, and
// audio without its configuration, beside video that is fine. A media that
// cannot be read loses its format parameters, which may come in band, or else
// is left out. A description that can be read stays as it is, and so does one
// of which nothing would be left.
func mend(body []byte) []byte {
	if _, err := parseSDP(body); err == nil {
		return body
	}
	parts := medias(body)
	if len(parts) < 2 || len(parts) > maxMedias {
		return body
	}
	session, kept := parts[0], 0
	out := bytes.Clone(session)
	for _, m := range parts[1:] {
		for _, try := range [][]byte{m, without(m, "a=fmtp:")} {
			if _, err := parseSDP(append(bytes.Clone(session), try...)); err == nil {
				out = append(out, try...)
				kept++
				break
			}
		}
	}
	if kept == 0 {
		return body
	}
	return out
}

func parseSDP(body []byte) (*description.Session, error) {
	var s sdp.SessionDescription
	if err := s.Unmarshal(body); err != nil {
		return nil, err
	}
	var d description.Session
	if err := d.Unmarshal(&s); err != nil {
		return nil, err
	}
	return &d, nil
}

// medias cuts a description before each of its medias; the first part is what
// holds for all of them.
func medias(body []byte) [][]byte {
	parts := [][]byte{nil}
	for line := range bytes.Lines(body) {
		if bytes.HasPrefix(line, []byte("m=")) {
			parts = append(parts, nil)
		}
		last := len(parts) - 1
		parts[last] = append(parts[last], line...)
	}
	return parts
}

// without drops the lines that begin so.
func without(media []byte, prefix string) []byte {
	var out []byte
	for line := range bytes.Lines(media) {
		if !bytes.HasPrefix(line, []byte(prefix)) {
			out = append(out, line...)
		}
	}
	return out
}
