package fleet

import (
	"fmt"
	"slices"
	"strings"
)

// Limits of a selector: far above what a person writes, low enough that a
// hostile text costs nothing.
const (
	maxSelectorBytes  = 4096
	maxSelectorTerms  = 64
	maxSelectorValues = 256
)

// Selector picks cameras by their labels. All of its terms must hold:
//
//	site=store-*          the label is there and its value matches (* = any run)
//	site!=store-*         the label is absent, or its value does not match
//	gate                  the label is there, whatever its value
//	!retired              the label is absent
//	crop in (vine, olive) the label is there with one of the values
//	crop not in (vine)    the label is absent, or has none of the values
//	*                     every camera
//
// Values may hold * anywhere. A key or value with spaces or one of ,()=!"
// is written in double quotes, with \" and \\ inside. The zero Selector
// matches everything, as "*" does.
type Selector struct{ terms []term }

type operator uint8

const (
	opAll operator = iota
	opHas
	opHasNot
	opEqual
	opNotEqual
	opIn
	opNotIn
)

type term struct {
	op     operator
	key    string
	values []string
}

// ParseSelector reads a selector. Its error names the column, counted in bytes
// from 1, and what was expected there.
func ParseSelector(s string) (Selector, error) {
	if len(s) > maxSelectorBytes {
		return Selector{}, fmt.Errorf("selector: %d bytes long, want at most %d", len(s), maxSelectorBytes)
	}
	p := selectorParser{text: s}
	sel, err := p.parse()
	if err != nil {
		return Selector{}, fmt.Errorf("selector %q: %w", s, err)
	}
	return sel, nil
}

// Match reports whether labels satisfy every term.
func (s Selector) Match(labels map[string]string) bool {
	for _, t := range s.terms {
		v, ok := labels[t.key]
		switch t.op {
		case opHas:
			if !ok {
				return false
			}
		case opHasNot:
			if ok {
				return false
			}
		case opEqual, opIn:
			if !ok || !t.matches(v) {
				return false
			}
		case opNotEqual, opNotIn:
			if ok && t.matches(v) {
				return false
			}
		}
	}
	return true
}

func (t term) matches(v string) bool {
	return slices.ContainsFunc(t.values, func(g string) bool { return globMatch(g, v) })
}

// String returns the canonical text: ParseSelector reads it back to the same
// selector.
func (s Selector) String() string {
	if len(s.terms) == 0 {
		return "*"
	}
	var b strings.Builder
	for i, t := range s.terms {
		if i > 0 {
			b.WriteByte(',')
		}
		key := quoteKey(t.key)
		switch t.op {
		case opAll:
			b.WriteByte('*')
		case opHas:
			b.WriteString(key)
		case opHasNot:
			b.WriteString("!" + key)
		case opEqual:
			b.WriteString(key + "=" + quoteWord(t.values[0]))
		case opNotEqual:
			b.WriteString(key + "!=" + quoteWord(t.values[0]))
		case opIn, opNotIn:
			b.WriteString(key)
			if t.op == opNotIn {
				b.WriteString(" not")
			}
			b.WriteString(" in (")
			for j, v := range t.values {
				if j > 0 {
					b.WriteString(", ")
				}
				b.WriteString(quoteWord(v))
			}
			b.WriteByte(')')
		}
	}
	return b.String()
}

// MarshalText writes the canonical text.
func (s Selector) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a selector.
func (s *Selector) UnmarshalText(b []byte) (err error) {
	*s, err = ParseSelector(string(b))
	return err
}

type selectorParser struct {
	text string
	pos  int
}

func (p *selectorParser) parse() (Selector, error) {
	var s Selector
	for {
		t, err := p.term()
		if err != nil {
			return s, err
		}
		s.terms = append(s.terms, t)
		if len(s.terms) > maxSelectorTerms {
			return s, p.want(fmt.Sprintf("at most %d terms", maxSelectorTerms))
		}
		p.space()
		switch {
		case p.pos == len(p.text):
			if len(s.terms) == 1 && s.terms[0].op == opAll {
				s.terms = nil
			}
			return s, nil
		case !p.take(","):
			return s, p.want("a comma before the next term")
		}
	}
}

func (p *selectorParser) term() (term, error) {
	p.space()
	if p.take("!") {
		p.space()
		key, err := p.key()
		return term{op: opHasNot, key: key}, err
	}
	start := p.pos
	key, err := p.key()
	if key == "*" && p.text[start] == '*' {
		return term{op: opAll}, nil
	}
	if err != nil {
		return term{}, err
	}
	p.space()
	switch {
	case p.take("!="):
		v, err := p.value()
		return term{op: opNotEqual, key: key, values: []string{v}}, err
	case p.take("="):
		v, err := p.value()
		return term{op: opEqual, key: key, values: []string{v}}, err
	case p.pos == len(p.text) || p.text[p.pos] == ',':
		return term{op: opHas, key: key}, nil
	}
	op := opIn
	if p.keyword("not") {
		op = opNotIn
		p.space()
	}
	if !p.keyword("in") {
		return term{}, p.want("=, !=, in (…), not in (…) or a comma after " + key)
	}
	values, err := p.list()
	return term{op: op, key: key, values: values}, err
}

func (p *selectorParser) list() ([]string, error) {
	p.space()
	if !p.take("(") {
		return nil, p.want("( and a list of values")
	}
	var values []string
	for {
		v, err := p.value()
		if err != nil {
			return nil, err
		}
		if values = append(values, v); len(values) > maxSelectorValues {
			return nil, p.want(fmt.Sprintf("at most %d values", maxSelectorValues))
		}
		p.space()
		switch {
		case p.take(")"):
			return values, nil
		case !p.take(","):
			return nil, p.want(", or ) after a value")
		}
	}
}

func (p *selectorParser) key() (string, error) {
	start := p.pos
	quoted := strings.HasPrefix(p.text[p.pos:], `"`)
	w, ok := p.word()
	switch {
	case !ok || w == "":
		p.pos = start
		return "", p.want("a label name, for example site")
	case !quoted && strings.Contains(w, "*"):
		if w == "*" {
			return w, p.at(start, "* alone selects every camera; a label cannot be excluded or compared by *")
		}
		return "", p.at(start, "a label name holds no *; only values do, as in site=store-*")
	}
	return w, nil
}

func (p *selectorParser) value() (string, error) {
	p.space()
	w, ok := p.word()
	if !ok {
		return "", p.want("a value; write an empty one as \"\"")
	}
	return w, nil
}

// word reads a bare or a quoted word; false leaves the position at the fault.
func (p *selectorParser) word() (string, bool) {
	if !p.take(`"`) {
		start := p.pos
		for p.pos < len(p.text) && !special(p.text[p.pos]) {
			p.pos++
		}
		return p.text[start:p.pos], p.pos > start
	}
	var b strings.Builder
	for p.pos < len(p.text) {
		c := p.text[p.pos]
		p.pos++
		switch {
		case c == '"':
			return b.String(), true
		case c == '\\' && p.pos < len(p.text):
			b.WriteByte(p.text[p.pos])
			p.pos++
		default:
			b.WriteByte(c)
		}
	}
	return "", false
}

func (p *selectorParser) keyword(w string) bool {
	rest, ok := strings.CutPrefix(p.text[p.pos:], w)
	if !ok || rest != "" && !special(rest[0]) {
		return false
	}
	p.pos += len(w)
	return true
}

func (p *selectorParser) take(s string) bool {
	if !strings.HasPrefix(p.text[p.pos:], s) {
		return false
	}
	p.pos += len(s)
	return true
}

func (p *selectorParser) space() {
	for p.pos < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.pos]) >= 0 {
		p.pos++
	}
}

func (p *selectorParser) want(what string) error { return p.at(p.pos, "want "+what) }

func (p *selectorParser) at(pos int, problem string) error {
	return fmt.Errorf("column %d: %s", pos+1, problem)
}

func special(c byte) bool { return strings.IndexByte(" \t\r\n,()=!\"", c) >= 0 }

func quoteWord(w string) string {
	if w != "" && !strings.ContainsAny(w, " \t\r\n,()=!\"") {
		return w
	}
	return quote(w)
}

// quoteKey also quotes a star, which bare would mean every camera.
func quoteKey(w string) string {
	if strings.Contains(w, "*") {
		return quote(w)
	}
	return quoteWord(w)
}

func quote(w string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(w) + `"`
}

// globMatch matches * against any run of bytes. It remembers only the last
// star, so its cost is bounded by len(pattern) × len(text).
func globMatch(pattern, text string) bool {
	star, mark, p := -1, 0, 0
	for t := 0; t < len(text); {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, t
			p++
		case p < len(pattern) && pattern[p] == text[t]:
			p++
			t++
		case star >= 0:
			mark++
			p, t = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
