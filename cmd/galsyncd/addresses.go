package main

import "net/mail"

// bareAddresses returns the addresses of arguments as people paste them: each one address, or a list of them as in a
// header, with display names or without. An argument that is neither stays as it is, for the daemon to say what is wrong.
func bareAddresses(args []string) []string {
	var all []string
	for _, arg := range args {
		list, err := mail.ParseAddressList(arg)
		if err != nil || len(list) == 0 {
			all = append(all, arg)
			continue
		}
		for _, address := range list {
			all = append(all, address.Address)
		}
	}
	return all
}
