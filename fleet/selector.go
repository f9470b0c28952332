package fleet

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Selector chooses cameras by their labels. Its text is a list of terms that
// must all hold:
//
//   - every camera
//     site=store-*            equal, with * and ? as in file names
//     role!=gate              not equal, or not labelled at all
//     role / !retired         labelled, not labelled
//     crop in (vine, olive)   one of them
//     crop not in (vine)      none of them
//
// The zero Selector matches every camera.
type Selector struct {
	text  string
	terms []term
}

type term struct {
	key    string
	not    bool
	values []string // nil: only whether the label is there
}

// ParseSelector reads a selector's text.
func ParseSelector(text string) (Selector, error) {
	s := Selector{text: strings.TrimSpace(text)}
	if s.text == "" {
		return s, fmt.Errorf(`selector is empty: write "*" for every camera`)
	}
	if s.text == "*" {
		return s, nil
	}
	parts, err := splitTerms(s.text)
	if err != nil {
		return s, fmt.Errorf("selector %q: %w", s.text, err)
	}
	for _, part := range parts {
		t, err := parseTerm(strings.TrimSpace(part))
		if err != nil {
			return s, fmt.Errorf("selector %q: %w", s.text, err)
		}
		s.terms = append(s.terms, t)
	}
	return s, nil
}

// splitTerms cuts at the commas that are not inside parentheses.
func splitTerms(text string) (parts []string, err error) {
	depth, from := 0, 0
	for i, r := range text {
		switch r {
		case '(':
			depth++
		case ')':
			depth--
		case ',':
			if depth == 0 {
				parts = append(parts, text[from:i])
				from = i + 1
			}
		}
		if depth < 0 || depth > 1 {
			return nil, fmt.Errorf("parenthesis at %d does not fit", i+1)
		}
	}
	if depth != 0 {
		return nil, fmt.Errorf("a parenthesis is not closed")
	}
	return append(parts, text[from:]), nil
}

func parseTerm(text string) (term, error) {
	if key, list, ok := strings.Cut(text, "("); ok {
		list, rest, _ := strings.Cut(list, ")")
		t := term{}
		words := strings.Fields(key)
		switch {
		case strings.TrimSpace(rest) != "":
			return t, fmt.Errorf("%q: nothing may follow the list", text)
		case len(words) == 2 && words[1] == "in":
		case len(words) == 3 && words[1] == "not" && words[2] == "in":
			t.not = true
		default:
			return t, fmt.Errorf("%q: write key in (a, b) or key not in (a, b)", text)
		}
		t.key = words[0]
		for v := range strings.SplitSeq(list, ",") {
			t.values = append(t.values, strings.TrimSpace(v))
		}
		return t, t.check(text)
	}
	if key, value, ok := strings.Cut(text, "!="); ok {
		t := term{key: strings.TrimSpace(key), not: true, values: []string{strings.TrimSpace(value)}}
		return t, t.check(text)
	}
	if key, value, ok := strings.Cut(text, "="); ok {
		t := term{key: strings.TrimSpace(key), values: []string{strings.TrimSpace(strings.TrimPrefix(value, "="))}}
		return t, t.check(text)
	}
	key, not := strings.CutPrefix(text, "!")
	t := term{key: strings.TrimSpace(key), not: not}
	return t, t.check(text)
}

func (t *term) check(text string) error {
	if t.key == "" || strings.ContainsAny(t.key, " \t!=()*") {
		return fmt.Errorf("%q: want a label, as in role=gate", text)
	}
	for _, v := range t.values {
		if _, err := path.Match(v, ""); err != nil || v == "" {
			return fmt.Errorf("%q: value %q is empty or no pattern", text, v)
		}
	}
	return nil
}

// Match reports whether a camera with these labels is chosen.
func (s Selector) Match(labels map[string]string) bool {
	for _, t := range s.terms {
		v, ok := labels[t.key]
		if ok && t.values != nil {
			ok = slices.ContainsFunc(t.values, func(p string) bool {
				m, err := path.Match(strings.ReplaceAll(p, "/", "\x00"), strings.ReplaceAll(v, "/", "\x00"))
				return err == nil && m
			})
		}
		if ok == t.not {
			return false
		}
	}
	return true
}

// String returns the text it was read from.
func (s Selector) String() string {
	if s.text == "" {
		return "*"
	}
	return s.text
}
