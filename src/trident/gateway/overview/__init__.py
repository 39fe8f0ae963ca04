"""What an operator sees at one look: gathered from the gateway's parts when it is asked for, and changed by nothing."""
