package client

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// maxEvent bounds one event of a stream.
const maxEvent = 4 << 20

// Stream posts body as JSON, and calls event with the name and the data of each
// server-sent event of the answer, until that ends or event fails.
func (c *Client) Stream(ctx context.Context, path string, body any, event func(name string, data []byte) error) error {
	b, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("POST %s: %w", path, err)
	}
	res, err := c.ask(ctx, request{method: http.MethodPost, path: path, kind: "application/json", body: b, accept: "text/event-stream, application/json"})
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode/100 != 2 {
		b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
		if err != nil {
			return fmt.Errorf("answer of %s: %w", c.base.Redacted(), err)
		}
		return c.refusal(res, b)
	}
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, maxEvent)
	name := ""
	for lines.Scan() {
		line := lines.Text()
		if v, ok := strings.CutPrefix(line, "event: "); ok {
			name = v
		}
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			if err := event(name, []byte(data)); err != nil {
				return err
			}
		}
	}
	if err := lines.Err(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("the answer of %s broke off: %w", c.base.Redacted(), err)
	}
	return nil
}
