package vendor

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Format is the shape of a maker's answer.
type Format int

// The shapes.
const (
	Lines Format = iota + 1 // key=value, or key='value', on a line each
	Pairs                   // key=value with & between, values percent-encoded or not
	XML                     // elements directly below the root
)

const (
	maxValues     = 256
	maxValueBytes = 128
)

// parse reads an answer into its values. What is too long, or more than there
// is room for, is left out.
func parse(f Format, body []byte) (map[string]string, error) {
	out := map[string]string{}
	put := func(key, value string) {
		key, value = strings.TrimSpace(key), clean(value)
		if _, ok := out[key]; !ok && key != "" && len(key) <= maxValueBytes && value != "" && len(out) < maxValues {
			out[key] = value
		}
	}
	switch f {
	case Lines, Pairs:
		sep := "\n"
		if f == Pairs {
			sep = "&"
		}
		for line := range strings.SplitSeq(string(body), sep) {
			if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
				put(key, strings.Trim(strings.TrimSpace(value), `'"`))
			}
		}
	case XML:
		if err := elements(body, put); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("format %d is unknown", f)
	}
	if len(out) == 0 {
		return nil, errors.New("an answer without any value")
	}
	return out, nil
}

// elements calls put with the text of each element directly below the root.
func elements(body []byte, put func(key, value string)) error {
	d := xml.NewDecoder(bytes.NewReader(body))
	depth, name, text := 0, "", ""
	for {
		t, err := d.RawToken() // no entities but the five, no name spaces to look up
		if errors.Is(err, io.EOF) {
			if depth != 0 {
				return errors.New("XML that ends in the middle")
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("no XML: %w", err)
		}
		switch t := t.(type) {
		case xml.StartElement:
			if depth++; depth == 2 {
				name, text = t.Name.Local, ""
			}
			if depth > 32 {
				return errors.New("XML deeper than any camera's")
			}
		case xml.CharData:
			if depth == 2 && len(text) < maxValueBytes {
				text += string(t)
			}
		case xml.EndElement:
			if depth == 2 {
				put(name, text)
			}
			if depth--; depth < 0 {
				return errors.New("XML that ends before it begins")
			}
		case xml.Directive:
			return errors.New("XML with a document type")
		}
	}
}

// clean makes a value fit to show, or returns "" for one that is not.
func clean(s string) string {
	s = strings.TrimSpace(s)
	if len(s) > maxValueBytes || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return ""
	}
	return s
}
