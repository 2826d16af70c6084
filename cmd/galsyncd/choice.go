package main

import (
	"strconv"

	"github.com/spf13/pflag"
)

// choiceVar adds the options --NAME and --no-NAME for what preferences can say too: nil means that neither was given. Of
// several the last counts.
func choiceVar(flags *pflag.FlagSet, target **bool, name, usage string) {
	flags.VarPF(choice{target, true}, name, "", usage+", whatever the preferences say").NoOptDefVal = "true"
	flags.VarPF(choice{target, false}, "no-"+name, "", "do not do what --"+name+" does, whatever the preferences say").NoOptDefVal = "true"
}

// choice is the value of one such option; yes is what the option without a value stands for.
type choice struct {
	target **bool
	yes    bool
}

func (c choice) Set(text string) error {
	v, err := strconv.ParseBool(text)
	if err == nil {
		v = v == c.yes
		*c.target = &v
	}
	return err
}

func (c choice) String() string { return "" }

func (c choice) Type() string { return "bool" }

// IsBoolFlag lets the option stand without a value.
func (c choice) IsBoolFlag() bool { return true }
