package scheduler

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/goccy/go-yaml"

	"github.com/shutterfleet/shutterfleet/fleet/calendar"
)

// ParseSchedules reads the YAML form of schedules and checks each:
//
//	schedules:
//	  - name: shelf
//	    select: "site=store-*"
//	    every: 5m
//
// Unknown keys are refused with their line and column, and so are two schedules
// of one name.
func ParseSchedules(data []byte) ([]calendar.Spec, error) {
	var file struct {
		Schedules []calendar.Spec `yaml:"schedules"`
	}
	err := yaml.NewDecoder(bytes.NewReader(data), yaml.DisallowUnknownField(), yaml.UseJSONUnmarshaler()).Decode(&file)
	if errors.Is(err, io.EOF) || err == nil && file.Schedules == nil {
		return nil, invalid("schedules", "there are none: begin the file with `schedules:` and list them below it")
	}
	if err != nil {
		return nil, &InvalidError{Field: "schedules", Problem: yaml.FormatError(err, false, true)}
	}
	seen := map[string]bool{}
	for i, s := range file.Schedules {
		if _, err := s.Compile(); err != nil {
			return nil, invalid(fmt.Sprintf("schedules[%d]", i), "%v", err)
		}
		if seen[s.Name] {
			return nil, invalid(fmt.Sprintf("schedules[%d]", i), "the name %s is used twice", s.Name)
		}
		seen[s.Name] = true
	}
	return file.Schedules, nil
}
