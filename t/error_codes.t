#!/usr/bin/env perl

# The error codes and close codes of the documentation against the source. If
# this fails, a client gets a code that is described nowhere, or its author
# writes code for one that never comes.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::JSON;

use Test::More;

my $root = "$FindBin::Bin/..";

sub slurp {
    my ($path) = @_;

    open my $f, '<', "$root/$path" or die "$path: $!";
    local $/;

    return readline $f;
}

my %source = map { $_ => slurp($_ =~ s{^\Q$root\E/}{}r) }
             glob "$root/src/*.c $root/src/*/*.c";

my %code;                               # code => files

while (my ($file, $text) = each %source) {
    my @table = $text =~ /fanout_errors\[\] = \{(.*?)\n\};/s
                ? $1 =~ /ngx_string\("(\w+)"\), \d+/g : ();

    $code{$_}{$file} = 1 for @table,
        $text =~ /&code, "(\w+)"/g, $text =~ /\bcode = ngx_string\("(\w+)"\)/g;
}

my @all = sort keys %code;

cmp_ok(scalar @all, '>', 15, 'codes are found: ' . join ' ', @all);


# a table between two headings, and the codes in one of its columns

sub section {
    my ($file, $heading) = @_;

    my ($level) = $heading =~ /^(#+)/;
    my ($text) = slurp($file) =~ /^\Q$heading\E\n(.*?)(?:^#{1,@{[ length $level ]}} |\z)/ms;

    ok(defined $text, "$file has $heading");

    return $text // '';
}

sub codes { my %seen; sort grep { !$seen{$_}++ } @_ }

# Those that only the HTTP API has, and those that only sessions have.

my %api     = map { $_ => 1 } qw( method_not_allowed );
my %session = map { $_ => 1 } qw( not_joined channel_full refused hook_failed
                                  rate_limited busy unsupported_media_type
                                  unauthorized blocked );

my $native = section('docs/protocol.md', '### Errors');

is_deeply([ codes($native =~ /^\| `(\w+)` \|/mg) ], [ grep { !$api{$_} } @all ],
          'codes of sessions');

my @api = grep { !$session{$_} } @all;

is_deeply([ codes(map { /`([a-z_]+)`/g }
                  section('docs/protocol.md', '## HTTP API')
                  =~ /^\| \d{3} \| (.*?) \|$/mg) ],
          \@api, 'codes of the HTTP API');

is_deeply([ codes(map { /`([a-z_]+)`/g }
                  slurp('docs/api.md') =~ /^\| \d{3} \| (.*?) \| .* \|$/mg) ],
          \@api, 'in api.md');

my $openapi = Fanout::JSON::decode(slurp('docs/openapi.json'));
my @enum;

sub look {
    my ($value) = @_;

    if (ref $value eq 'HASH') {
        my $code = $value->{properties}{code} if ref $value->{properties};

        push @enum, @{ $code->{enum} } if ref $code && $code->{enum};
        look($_) for values %$value;

    } elsif (ref $value eq 'ARRAY') {
        look($_) for @$value;
    }
}

look($openapi);

is_deeply([ codes(@enum) ], \@api, 'in openapi.json');


# the status of each, in the table of the source and in that of sessions

my ($rows) = slurp('src/hub/error.c')
             =~ /fanout_errors\[\] = \{(.*?)\n\};/s;
my %status = ( unauthorized           => { 401 => 1 },
               blocked                => { 403 => 1 },
               unsupported_media_type => { 415 => 1 },
               unavailable            => { 503 => 1 } );

$status{$1}{$2} = 1 while $rows =~ /ngx_string\("(\w+)"\), (\d+)/g;

is_deeply({ map { my ($code, $all) = split /` \| /; ($code => $all) }
            $native =~ /^\| `(\w+` \| [\d, ]+) \|/mg },
          { map { $_ => join ', ', sort keys %{ $status{$_} } }
            keys %status }, 'the statuses of the codes');


# Close codes: those of the protocol's names, and what functions that close are
# called with. A code that is a variable comes from one of these.

my %named = map { /define (FANOUT_WS_\w+) +(1\d{3})\b/g }
            slurp('src/wire/ws.h');
my %close;

for my $text (values %source) {
    $close{$_} = 1 for $text =~ /\b(44\d\d)\b/g;

    for my $call ($text =~ /(?:session_close|close_payload|give_up)(\((?:[^()]|(?1))*\))/g,
                  $text =~ /\b(?:code = |\] = \{ )([\w]+)/g)
    {
        $close{$_} = 1 for $call =~ /\b(10[01]\d)\b/g;
        $close{ $named{$_} } = 1
            for grep { $named{$_} } $call =~ /\b(FANOUT_WS_\w+)/g;
    }
}

# what is never sent, and what only the client says

delete @close{ 1000, 1001, 1005, 1006 };

cmp_ok(scalar keys %close, '>', 10, 'close codes are found: ' . join ' ', sort keys %close);

my $troubles = slurp('docs/troubleshooting.md');

is_deeply([ codes(section('docs/protocol.md', '### Close codes')
                  =~ /^\| (\d{4}) \|/mg) ],
          [ sort keys %close ], 'each is in the table');
is_deeply([ codes($troubles =~ /^## (44\d\d)$/mg) ],
          [ grep { /^44/ } sort keys %close ], 'ours among the troubles');

done_testing();
