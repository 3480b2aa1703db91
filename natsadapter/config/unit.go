package config

import (
	"encoding"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Bytes is a size that text gives as "1MB", "512KiB" or "1000000": for a field of a program's own
// settings.
type Bytes int64

// A unit is how a setting's text is read.
type unit struct {
	name  string // as in the help
	list  bool   // several texts, separated by commas
	parse func(text string, into reflect.Value) error
	print func(v reflect.Value) string
}

var (
	bytesType    = reflect.TypeFor[Bytes]()
	durationType = reflect.TypeFor[time.Duration]()
	levelType    = reflect.TypeFor[slog.Level]()
	prefixType   = reflect.TypeFor[netip.Prefix]()
	siteType     = reflect.TypeFor[http.SameSite]()
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// unitOf returns the unit of a Go type, and nil for types that text cannot give.
func unitOf(t reflect.Type) *unit {
	switch t {
	case bytesType:
		return sizes
	case durationType:
		return durations
	case levelType:
		return levels
	case siteType:
		return sites
	case prefixType:
		return prefixes
	}
	if reflect.PointerTo(t).Implements(textType) {
		return texters
	}
	switch t.Kind() {
	case reflect.String:
		return plainTexts
	case reflect.Bool:
		return bools
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return numbers
	case reflect.Float32, reflect.Float64:
		return decimals
	case reflect.Slice:
		if of := unitOf(t.Elem()); of != nil && !of.list {
			return listOf(of)
		}
	}
	return nil
}

// listOf is a list of what of reads. Empty elements are mistakes; an empty text is an empty list.
func listOf(of *unit) *unit {
	return &unit{
		name: "list", list: true,
		parse: func(text string, into reflect.Value) error {
			list := reflect.MakeSlice(into.Type(), 0, 4)
			for element := range strings.SplitSeq(text, ",") {
				if element = strings.TrimSpace(element); element == "" && text == "" {
					break
				} else if element == "" {
					return wrong("values between all commas", "an element of the list is empty")
				}
				v := reflect.New(into.Type().Elem()).Elem()
				if err := of.parse(element, v); err != nil {
					return err
				}
				list = reflect.Append(list, v)
			}
			into.Set(list)
			return nil
		},
		print: func(v reflect.Value) string {
			texts := make([]string, v.Len())
			for i := range texts {
				texts[i] = of.print(v.Index(i))
			}
			return strings.Join(texts, ",")
		},
	}
}

var plainTexts = &unit{
	name:  "text",
	parse: func(text string, into reflect.Value) error { into.SetString(text); return nil },
	print: func(v reflect.Value) string { return v.String() },
}

var bools = &unit{
	name: "true or false",
	parse: func(text string, into reflect.Value) error {
		switch strings.ToLower(text) {
		case "true", "yes", "on", "1":
			into.SetBool(true)
		case "false", "no", "off", "0":
			into.SetBool(false)
		default:
			return wrong("true or false", "%s", quote(text))
		}
		return nil
	},
	print: func(v reflect.Value) string { return strconv.FormatBool(v.Bool()) },
}

var numbers = &unit{
	name: "number",
	parse: func(text string, into reflect.Value) error {
		n, err := strconv.ParseInt(strings.ReplaceAll(text, "_", ""), 10, 64)
		if err != nil {
			return wrong("digits, such as 1000", "%s is no whole number", quote(text))
		}
		return setInt(n, text, into)
	},
	print: func(v reflect.Value) string { return fmt.Sprint(v.Interface()) },
}

func setInt(n int64, text string, into reflect.Value) error {
	if into.CanInt() && !into.OverflowInt(n) {
		into.SetInt(n)
		return nil
	}
	if into.CanUint() && n >= 0 && !into.OverflowUint(uint64(n)) {
		into.SetUint(uint64(n))
		return nil
	}
	return wrong("a number that fits", "%s is beyond what this setting can hold", quote(text))
}

var decimals = &unit{
	name: "number",
	parse: func(text string, into reflect.Value) error {
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
			return wrong("a number, such as 0.5", "%s is no number", quote(text))
		}
		into.SetFloat(n)
		return nil
	},
	print: func(v reflect.Value) string { return strconv.FormatFloat(v.Float(), 'g', -1, 64) },
}

// sizeUnits are the units of sizes, the longest names first.
var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1},
}

var sizes = &unit{
	name: "size",
	parse: func(text string, into reflect.Value) error {
		digits, factor := text, int64(1)
		for _, u := range sizeUnits {
			if rest, ok := strings.CutSuffix(text, u.name); ok {
				digits, factor = strings.TrimSpace(rest), u.bytes
				break
			}
		}
		n, err := strconv.ParseInt(strings.ReplaceAll(digits, "_", ""), 10, 64)
		if err != nil {
			return wrong("bytes, such as 512KiB or 1MB", "%s is no size", quote(text))
		}
		if n > math.MaxInt64/factor || n < math.MinInt64/factor {
			return wrong("less", "%s is beyond what a size can be", quote(text))
		}
		return setInt(n*factor, text, into)
	},
	print: func(v reflect.Value) string {
		n := v.Int()
		for _, i := range []int{2, 1, 0, 6, 5, 3} { // GiB MiB KiB GB MB kB
			if u := sizeUnits[i]; n != 0 && n%u.bytes == 0 {
				return strconv.FormatInt(n/u.bytes, 10) + u.name
			}
		}
		return strconv.FormatInt(n, 10)
	},
}

var durations = &unit{
	name: "duration",
	parse: func(text string, into reflect.Value) error {
		d, err := time.ParseDuration(text)
		if err != nil {
			if _, err := strconv.ParseFloat(text, 64); err == nil {
				return wrong(text+"s, "+text+"ms or "+text+"m", "%s has no unit", quote(text))
			}
			return wrong("a duration, such as 25s, 1m30s or 500ms", "%s is no duration", quote(text))
		}
		into.SetInt(int64(d))
		return nil
	},
	print: func(v reflect.Value) string {
		text := time.Duration(v.Int()).String()
		if strings.HasSuffix(text, "m0s") {
			text = strings.TrimSuffix(text, "0s")
		}
		if strings.HasSuffix(text, "h0m") {
			text = strings.TrimSuffix(text, "0m")
		}
		return text
	},
}

var levels = &unit{
	name: "level",
	parse: func(text string, into reflect.Value) error {
		var level slog.Level
		if err := level.UnmarshalText([]byte(text)); err != nil {
			return wrong("debug, info, warn or error", "%s is no level", quote(text))
		}
		into.SetInt(int64(level))
		return nil
	},
	print: func(v reflect.Value) string { return strings.ToLower(slog.Level(v.Int()).String()) },
}

var siteNames = map[string]http.SameSite{
	"lax": http.SameSiteLaxMode, "strict": http.SameSiteStrictMode, "none": http.SameSiteNoneMode,
}

var sites = &unit{
	name: "text",
	parse: func(text string, into reflect.Value) error {
		site, ok := siteNames[strings.ToLower(text)]
		if !ok {
			return wrong("lax, strict or none", "%s", quote(text))
		}
		into.SetInt(int64(site))
		return nil
	},
	print: func(v reflect.Value) string {
		for name, site := range siteNames {
			if int64(site) == v.Int() {
				return name
			}
		}
		return ""
	},
}

var prefixes = &unit{
	name: "text",
	parse: func(text string, into reflect.Value) error {
		if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
			into.Set(reflect.ValueOf(netip.PrefixFrom(addr, addr.BitLen())))
			return nil
		}
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return wrong("addresses, such as 10.0.0.0/8 or 192.0.2.7", "%s is no address", quote(text))
		}
		into.Set(reflect.ValueOf(prefix.Masked()))
		return nil
	},
	print: func(v reflect.Value) string { return v.Interface().(netip.Prefix).String() },
}

// texters are types of the program's own that read text themselves.
var texters = &unit{
	name: "text",
	parse: func(text string, into reflect.Value) error {
		if err := into.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text)); err != nil {
			return &mistake{problem: err.Error()}
		}
		return nil
	},
	print: func(v reflect.Value) string {
		if m, ok := v.Interface().(encoding.TextMarshaler); ok {
			if text, err := m.MarshalText(); err == nil {
				return string(text)
			}
		}
		return ""
	},
}
