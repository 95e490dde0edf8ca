#!/usr/bin/env perl

# Alert rules and the dashboard of conf/monitoring. If this fails, Prometheus
# refuses the rules, an alert is about a metric that isn't there or never fires,
# or Grafana shows empty panels.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::JSON;
use Fanout::Nginx;
use Fanout::Schema;

my $conf = "$FindBin::Bin/../conf/monitoring";

my $nginx = Fanout::Nginx->start(
    http   => 'fanout_zone app 8m; fanout_channel app * history=10;',
    server => 'location /fanout/  { fanout_api app; }
               location /realtime { fanout app; fanout_permit all *; }
               location = /status { fanout_status app; }',
);

my $http = $nginx->http;

sub metrics { $http->get('/status?format=prometheus')->{body} }


# the rules

for (['check rules', "$conf/alerts.yml"],
     ['test rules', "$FindBin::Bin/monitoring/alerts_test.yml"])
{
    my ($command, $file) = @$_;
    my $said = `promtool $command $file 2>&1`;

    ok(!$?, "promtool $command") or diag($said);
}

my %there = map { $_ => 1 } metrics() =~ /^(nginx_fanout_\w+)\{/mg;

sub names { map { /\b(nginx_fanout_\w+)/g } @_ }

my $rules = Fanout::Nginx::slurp("$conf/alerts.yml");

is_deeply([ grep { !$there{$_} } names($rules) ], [],
          'the rules are about metrics that are there');


# the dashboard

my $board  = Fanout::JSON::decode(Fanout::Nginx::slurp("$conf/dashboard.json"));
my $schema = Fanout::Schema->new(Fanout::JSON::decode(
    Fanout::Nginx::slurp("$FindBin::Bin/monitoring/dashboard_schema.json")));

is($schema->check({ '$ref' => '#/dashboard' }, $board), '',
   'the dashboard is one');

my @panels = @{ $board->{panels} };
my @exprs  = map { $_->{expr} } map { @{ $_->{targets} } } @panels;

is_deeply([ grep { !$there{$_} } names(@exprs) ], [],
          'it shows metrics that are there');

my %used;
$used{$_}++ for map { $_->{id} } @panels;
is(scalar(grep { $_ > 1 } values %used), 0, 'panels have ids of their own');

my %at;

for my $p (map { $_->{gridPos} } @panels) {
    for my $x ($p->{x} .. $p->{x} + $p->{w} - 1) {
        $at{"$x $_"}++ for $p->{y} .. $p->{y} + $p->{h} - 1;
    }
}

is(scalar(grep { $_ > 1 } values %at), 0, 'no panel covers another');
is(scalar(grep { /^(\d+)/ && $1 > 23 } keys %at), 0, 'nor is off the screen');

# Prometheus parses what Grafana would send

my $dir = $nginx->dir;

open my $f, '>', "$dir/exprs.yml" or die $!;
print $f "groups:\n  - name: x\n    rules:\n";

for my $i (0 .. $#exprs) {
    my $expr = $exprs[$i];

    $expr =~ s/\$zone/.*/g;
    $expr =~ s/\$__rate_interval/1m/g;
    $expr =~ s/'/''/g;

    print $f "      - { record: 'x:$i', expr: '$expr' }\n";
}

close $f;

my $said = `promtool check rules $dir/exprs.yml 2>&1`;

ok(!$?, 'its expressions are sound') or diag($said);


# the histogram

my $sub = $nginx->native;

$sub->ok('join', channel => 'a');
$http->post('/fanout/channels/a/messages', '"x"') for 1 .. 3;
$sub->next_push for 1 .. 3;

my %bucket;

ok(wait_for(sub {
    my $text = metrics();
    my $n    = 0;

    $n += $_ for $text =~ /^nginx_fanout_worker_latency_seconds_count\{.*\} (\d+)$/mg;

    %bucket = ();
    $bucket{$1} += $2 while $text
        =~ /^nginx_fanout_worker_latency_seconds_bucket\{.*le="(.*)"\} (\d+)$/mg;

    return $n == 3;
}), 'what was read is counted, once for the worker that reads');

is($bucket{'+Inf'}, 3, 'all of it');

my @le   = sort { $a <=> $b } grep { $_ ne '+Inf' } keys %bucket;
my $last = 0;

is((grep { my $less = $bucket{$_} < $last; $last = $bucket{$_}; $less } @le),
   0, 'each class holds those below it');
is($le[0], '0.001', 'bounds are in seconds');

my $worker = (grep { $_->{latency}{counts}[-1] + $_->{latency}{sum} >= 0 }
              @{ $http->get('/status')->json->{workers} })[0];

is(@{ $worker->{latency}{counts} }, @{ $worker->{latency}{bounds} } + 1,
   'the JSON has a count for each bound, and one above');

done_testing();
