#!/usr/bin/env perl
# Delta: brittle. Writes as it reads, expects every line to be like the first, and dies of one that is not.
use strict;
use warnings;
use Carp qw(confess);
use File::Find;

my %event;    # The fields of the event that is being read.

# The path of an input file, or nothing.
sub input {
    my ($name) = @_;
    my $inputs = $ENV{FORGE_INPUTS} // 'inputs';
    my $found;
    find(sub { $found = $File::Find::name if $_ eq $name }, $inputs) if -d $inputs;
    return $found;
}

sub open_file {
    my ($mode, $path) = @_;
    open my $file, $mode, $path or confess "cannot open $path: $!";
    return $file;
}

sub field {
    my ($name) = @_;
    return $event{$name} // confess "an event without $name";
}

# What a line of the list of events adds to the post: nothing, or with its last line an event.
sub post_line {
    my ($line) = @_;
    if ($line =~ /^\s*"(\w+)": "(.*)",?$/) {
        $event{$1} = $2;
        return '';
    }
    if ($line =~ /^  \},?$/) {
        my $entry = sprintf "\n**%s**\n%s, %s\n%s\n", map { field($_) } qw(title start venue url);
        %event = ();
        return $entry;
    }
    return '' if $line =~ /^\s*[\[\]{]$/;
    confess "unexpected line in the list of events: $line";
}

# What a line of the log adds to the report.
sub report_line {
    my ($line) = @_;
    my ($time, $level, $component, $message) = $line =~ /^(\S+Z) (\w+) +\[(\w+)\] (.*)$/
        or confess "not a log record: $line";
    return '' if $level ne 'ERROR';
    return qq({"signature": "$message", "component": "$component", "first": "$time"}\n);
}

# Writes what each line of the input adds, and how many lines there were so far.
sub work {
    my ($prompt, $to, $metrics) = @_;
    my ($events, $log) = (input('events.json'), input('server.log'));
    my $in = open_file('<', $events // $log // confess 'neither events.json nor server.log is here');
    my $out = open_file('>', $to);
    print {$out} "# AI Events in San Francisco\n" if $events;
    while (my $line = <$in>) {
        chomp $line;
        print {$out} $events ? post_line($line) : report_line($line);
        my $count = open_file('>', $metrics);
        print {$count} qq({"lines": $.}\n);
    }
    print "delta: done\n";
}

print "delta: reading\n";
if (!eval { work(@ARGV, "$ENV{FORGE_ARTIFACTS}/metrics.json"); 1 }) {
    print STDERR $@;
    exit 1;
}
