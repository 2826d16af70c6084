package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// The types below give a field of Config the spelling it has in the file; definitions.go converts pointers to them.
type (
	size       int64   // "100MB"
	percentage float64 // "20%"
	directory  string  // absolute after "~/" was expanded
	file       string  // relative names count from the configuration file
)

var errType = errors.New("wrong type")

// assign stores a value of the file behind target, a pointer to a field of Config. errType reports a value of another
// type; other errors say what is wrong with its text.
func (c *Config) assign(target any, v value, env environment) error {
	switch t := target.(type) {
	case *string:
		return assignAs(t, v)
	case *bool:
		return assignAs(t, v)
	case *int:
		var n int64
		if err := assignAs(&n, v); err != nil {
			return err
		}
		if n < math.MinInt32 || n > math.MaxInt32 {
			return errors.New("the number is out of range")
		}
		*t = int(n)
		return nil
	case *float64:
		return assignNumber(t, v)
	case *[]string:
		return assignList(t, v)
	case *time.Duration:
		return assignText(t, v, parseDuration)
	case *size:
		return assignText((*int64)(t), v, parseSize)
	case *percentage:
		return assignText((*float64)(t), v, parsePercentage)
	case *directory:
		return assignText((*string)(t), v, env.directory)
	case *file:
		return assignText((*string)(t), v, func(s string) (string, error) { return env.file(s, c.Dir()) })
	}
	panic(fmt.Sprintf("config: no way to read into %T", target))
}

func assignAs[T any](t *T, v value) error {
	data, ok := v.data.(T)
	if !ok {
		return errType
	}
	if s, isText := v.data.(string); isText && strings.ContainsFunc(s, isControl) {
		return errors.New("has a control character")
	}
	*t = data
	return nil
}

func assignText[T any](t *T, v value, parse func(string) (T, error)) error {
	var s string
	if err := assignAs(&s, v); err != nil {
		return err
	}
	parsed, err := parse(s)
	if err != nil {
		return err
	}
	*t = parsed
	return nil
}

func assignNumber(t *float64, v value) error {
	switch n := v.data.(type) {
	case int64:
		*t = float64(n)
	case float64:
		*t = n
	default:
		return errType
	}
	return nil
}

func assignList(t *[]string, v value) error {
	items, ok := v.data.([]value)
	if !ok {
		return errType
	}
	list := make([]string, len(items))
	for i, item := range items {
		if err := assignAs(&list[i], item); err != nil {
			return err
		}
	}
	*t = list
	return nil
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

const day = 24 * time.Hour

// maxDuration bounds every duration of the file.
const maxDuration = 3650 * day

// parseDuration reads Go's durations, which may begin with whole days: "7d", "1d12h", "90m", "1.5s".
func parseDuration(s string) (time.Duration, error) {
	var days int64
	rest := s
	if n, after, found := strings.Cut(s, "d"); found {
		var err error
		if days, err = strconv.ParseInt(n, 10, 32); err != nil || days < 0 {
			return 0, fmt.Errorf("%q is not a duration; write it like \"90s\", \"12h\" or \"7d\"", s)
		}
		rest = after
	}
	var d time.Duration
	if rest != "" || s == "" {
		var err error
		if d, err = time.ParseDuration(rest); err != nil {
			return 0, fmt.Errorf("%q is not a duration; write it like \"90s\", \"12h\" or \"7d\"", s)
		}
	}
	if days > int64(maxDuration/day) || d > maxDuration || d < 0 {
		return 0, fmt.Errorf("%q is out of range; durations are between 0 and 3650d", s)
	}
	return time.Duration(days)*day + d, nil
}

// formatDuration is the inverse of parseDuration.
func formatDuration(d time.Duration) string {
	days, rest := d/day, d%day
	text := rest.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	switch {
	case days == 0:
		return text
	case rest == 0:
		return fmt.Sprintf("%dd", days)
	}
	return fmt.Sprintf("%dd%s", days, text)
}

type unit struct {
	suffix string
	bytes  int64
}

// units of size, longest suffix first so that "MB" is not read as "B".
func units() []unit {
	return []unit{
		{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
		{"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"KB", 1e3}, {"B", 1},
	}
}

// parseSize reads a whole number with a unit: "100MB" is 100,000,000 bytes, "100MiB" is 104,857,600.
func parseSize(s string) (int64, error) {
	for _, u := range units() {
		number, found := strings.CutSuffix(s, u.suffix)
		if !found {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
		if err != nil || n < 0 || n > math.MaxInt64/u.bytes {
			break
		}
		return n * u.bytes, nil
	}
	return 0, fmt.Errorf("%q is not a size; write a whole number with B, kB, MB, GB, KiB, MiB or GiB, such as \"100MB\"", s)
}

// formatSize is the inverse of parseSize.
func formatSize(n int64) string {
	for _, u := range units() {
		if u.suffix != "KB" && n != 0 && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.suffix
		}
	}
	return "0B"
}

// parsePercentage reads "20%" as 0.2.
func parsePercentage(s string) (float64, error) {
	number, found := strings.CutSuffix(s, "%")
	f, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if !found || err != nil || !(f >= 0 && f <= 100) {
		return 0, fmt.Errorf("%q is not a percentage between \"0%%\" and \"100%%\"", s)
	}
	return f / 100, nil
}

func formatPercentage(f float64) string {
	return strconv.FormatFloat(math.Round(f*1e8)/1e6, 'f', -1, 64) + "%"
}

// literal writes what is behind target as a TOML value.
func literal(target any) string {
	switch t := target.(type) {
	case *string:
		return quote(*t)
	case *directory:
		return quote(string(*t))
	case *file:
		return quote(string(*t))
	case *bool:
		return strconv.FormatBool(*t)
	case *int:
		return strconv.Itoa(*t)
	case *float64:
		return strconv.FormatFloat(*t, 'f', -1, 64)
	case *time.Duration:
		return quote(formatDuration(*t))
	case *size:
		return quote(formatSize(int64(*t)))
	case *percentage:
		return quote(formatPercentage(float64(*t)))
	case *[]string:
		quoted := make([]string, len(*t))
		for i, s := range *t {
			quoted[i] = quote(s)
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	}
	panic(fmt.Sprintf("config: no way to write %T", target))
}

// quote writes a TOML string: literal in single quotes when it has a backslash or a double quote and can be, else basic.
func quote(s string) string {
	if strings.ContainsAny(s, `\"`) && !strings.Contains(s, "'") && !strings.ContainsFunc(s, isControl) {
		return "'" + s + "'"
	}
	return `"` + escape(s) + `"`
}

// escape makes s fit between the quotes of a TOML basic string.
func escape(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case isControl(r):
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
