#!/usr/bin/env perl

# Refusals of many addresses in fanout_log. If this fails, who has many can fill the
# disk with them, or nobody learns how many there were.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::JSON;
use Fanout::Nginx;


my $nginx = Fanout::Nginx->start(
    workers => 1,
    http    => 'fanout_zone app 8m; fanout_budget off;',
    server  => <<'END',
        fanout_log %%DIR%%/fanout.log events=deny;
        location = /fanout-status { fanout_status app; }
        location /rt { fanout app; fanout_permit join room:*; }
END
);

my $n = 400;

for my $i (1 .. $n) {
    my $http = $nginx->http(local => sprintf '127.0.%d.%d', 1 + $i / 200, 1 + $i % 200);
    my $status = $http->get('/rt?poll=1&channel=x')->{status};

    is($status, 403, 'refused') if $status != 403 || $i == 1;
}

sub denials {
    open my $f, '<', $nginx->dir . '/fanout.log' or die;
    return map { Fanout::JSON::decode($_) } <$f>;
}

my @lines = denials();

# the ten seconds may end while they come

cmp_ok(scalar(@lines), '>=', 256, 'most have a line');
cmp_ok(scalar(@lines), '<', $n, 'not all have');
cmp_ok($nginx->http->get('/fanout-status')->json->{counters}{log_gathered}, '>=',
       $n - @lines, 'the others are counted');

$nginx->stop;

my @many = grep { $_->{addr} eq 'many' } denials();
my $repeated = 0;
$repeated += $_->{repeated} for @many;

is($repeated + @lines, $n, 'and told of together');
is($many[0]{event}, 'deny', 'as what they are');

$nginx->done_testing;
