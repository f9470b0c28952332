package ics

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// property is one content line (RFC 5545, 3.1).
type property struct {
	line   int // where it begins
	name   string
	params map[string]string
	value  string
}

// fault names the property and its line.
func (p *property) fault(format string, args ...any) error {
	return fmt.Errorf("line %d: %s: %w", p.line, p.name, fmt.Errorf(format, args...))
}

// component is what stands between BEGIN and END.
type component struct {
	line     int
	name     string
	props    []property
	children []*component
}

// get returns the first property of that name; nil when there is none.
func (c *component) get(name string) *property {
	if i := slices.IndexFunc(c.props, func(p property) bool { return p.name == name }); i >= 0 {
		return &c.props[i]
	}
	return nil
}

// maxDepth bounds nested components: an alarm in an event in a calendar is 3.
const maxDepth = 8

// read are the properties that matter; the others are looked at no further.
var read = []string{"UID", "SUMMARY", "STATUS", "DTSTART", "DTEND", "DURATION", "RRULE", "RDATE", "EXDATE", "EXRULE", "RECURRENCE-ID", "TZID", "TZOFFSETFROM", "TZOFFSETTO"}

// parse reads a stream of calendars.
func parse(data []byte) ([]*component, error) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")) // Outlook writes the mark of UTF-8
	root := &component{}
	stack := []*component{root}
	err := unfold(data, func(number int, line string) error {
		p, err := parseLine(number, line)
		if err != nil && len(stack) == 1 {
			return notCalendar(number)
		}
		if err != nil {
			return err
		}
		top := stack[len(stack)-1]
		switch {
		case p.name == "BEGIN":
			if len(stack) > maxDepth {
				return p.fault("nested more than %d deep", maxDepth)
			}
			c := &component{line: number, name: strings.ToUpper(strings.TrimSpace(p.value))}
			if len(stack) == 1 && c.name != "VCALENDAR" {
				return notCalendar(number)
			}
			top.children = append(top.children, c)
			stack = append(stack, c)
		case len(stack) == 1:
			return notCalendar(number)
		case p.name == "END":
			if name := strings.ToUpper(strings.TrimSpace(p.value)); name != top.name {
				return p.fault("%s ends, but %s of line %d is open: is a line missing?", name, top.name, top.line)
			}
			stack = stack[:len(stack)-1]
		case slices.Contains(read, p.name):
			top.props = append(top.props, p)
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case len(stack) > 1:
		return nil, fmt.Errorf("line %d: %s has no END: is the file cut off?", stack[len(stack)-1].line, stack[len(stack)-1].name)
	case len(root.children) == 0:
		return nil, errors.New("empty: want an iCalendar file, which begins with BEGIN:VCALENDAR")
	}
	return root.children, nil
}

func notCalendar(number int) error {
	return fmt.Errorf("line %d: not an iCalendar file, which begins with BEGIN:VCALENDAR: export the calendar as .ics", number)
}

// unfold joins folded lines, which go on after a line break and one space or
// tab, and calls yield with each and the number of its first line.
func unfold(data []byte, yield func(number int, line string) error) error {
	var b strings.Builder
	number, begun := 0, 0
	flush := func() error {
		line := b.String()
		b.Reset()
		if strings.TrimSpace(line) == "" {
			return nil
		}
		return yield(begun, line)
	}
	for raw := range bytes.Lines(data) {
		number++
		raw = bytes.TrimSuffix(bytes.TrimSuffix(raw, []byte("\n")), []byte("\r"))
		if number > 1 && len(raw) > 0 && (raw[0] == ' ' || raw[0] == '\t') {
			b.Write(raw[1:])
			continue
		}
		if err := flush(); err != nil {
			return err
		}
		begun = number
		b.Write(raw)
	}
	return flush()
}

// parseLine splits NAME;PARAM=VALUE;PARAM="VALUE":value.
func parseLine(number int, line string) (property, error) {
	bad := fmt.Errorf("line %d: want NAME:value, and a space before each line that goes on", number)
	end := strings.IndexAny(line, ";:")
	if end < 1 {
		return property{}, bad
	}
	p := property{line: number, name: strings.ToUpper(line[:end])}
	rest := line[end:]
	for rest[0] == ';' {
		key, after, ok := strings.Cut(rest[1:], "=")
		if !ok {
			return property{}, bad
		}
		// The value ends at ; or : outside quotes.
		quoted, i := false, 0
		for ; i < len(after); i++ {
			if after[i] == '"' {
				quoted = !quoted
			} else if !quoted && (after[i] == ';' || after[i] == ':') {
				break
			}
		}
		if i == len(after) {
			return property{}, bad
		}
		if p.params == nil {
			p.params = map[string]string{}
		}
		p.params[strings.ToUpper(key)] = strings.ReplaceAll(after[:i], `"`, "")
		rest = after[i:]
	}
	p.value = rest[1:]
	return p, nil
}

// unescape reads TEXT (RFC 5545, 3.3.11) for messages.
func unescape(s string) string {
	return strings.NewReplacer(`\\`, `\`, `\;`, ";", `\,`, ",", `\n`, " ", `\N`, " ").Replace(s)
}
