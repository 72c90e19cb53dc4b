"""What tests share: processes, browsers, kills, damage; and two programs, `soak` and `screenshots`."""
