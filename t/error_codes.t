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
    my @table = $text =~ /ngx_http_fanout_errors\[\] = \{(.*?)\n\};/s
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
                                  rate_limited busy unsupported_media_type );

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


# close codes of our own

my %close = map { $_ => 1 } map { /\b(44\d\d)\b/g } values %source;

my $protocol = slurp('docs/protocol.md');
my $troubles = slurp('docs/troubleshooting.md');

cmp_ok(scalar keys %close, '>', 3, 'close codes are found: ' . join ' ', sort keys %close);

is_deeply([ codes(map { /\b(44\d\d)\b/g } $protocol =~ /^\| ([\d, ]+) \|/mg) ],
          [ sort keys %close ], 'each is in a table of the protocol');
is_deeply([ codes($troubles =~ /^## (44\d\d)$/mg) ], [ sort keys %close ],
          'and among the troubles');

done_testing();
