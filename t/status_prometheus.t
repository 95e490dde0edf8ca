#!/usr/bin/env perl

# The status for Prometheus. If this fails, a scrape is refused as a whole, or
# alerts are about numbers that are not true.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::JSON;
use Fanout::Nginx;


my $odd = 'q"b\\\\s:*';                   # in nginx.conf: q"b\s:*

my $nginx = Fanout::Nginx->start(
    http => <<"END",
        fanout_zone app 8m;
        fanout_channel app room:* history=10;
        fanout_channel app '$odd' history=10;
        fanout_channel app "\xc3\xa9t\xc3\xa9:*" history=10;
        fanout_channel app "\xff\xfe:*" history=10;
        fanout_channel app "${\('u' x 63)}\xc3\xa9:*" history=10;
END
    server => <<'END',
        location /fanout/  { fanout_api app; }
        location /realtime { fanout app; fanout_permit all *; }
        location = /status { fanout_status app; }
END
);

my @pids = $nginx->worker_pids;
my ($one, $two) = map { $nginx->http(worker => $_) } @pids;

# as Prometheus itself parses it: prints one line of JSON

my $parser = <<'END';
import json, sys

if sys.argv[1] == 'openmetrics':
    from prometheus_client.openmetrics import parser
else:
    from prometheus_client import parser

print(json.dumps([
    {'name': f.name, 'type': f.type, 'text': f.documentation,
     'samples': [[s.name, s.labels, s.value] for s in f.samples]}
    for f in parser.text_string_to_metric_families(sys.stdin.buffer.read().decode())
]))
END


sub parse {
    my ($format, $text) = @_;

    my $dir = $nginx->dir;

    open my $py, '>', "$dir/parse.py" or die $!;
    print $py $parser;
    close $py;

    open my $f, '>:raw', "$dir/metrics" or die $!;
    print $f $text;
    close $f;

    my $said = `/usr/bin/python3 $dir/parse.py $format < $dir/metrics 2>$dir/parse.err`;

    if ($?) {
        open my $e, '<', "$dir/parse.err" or die $!;
        diag(do { local $/; <$e> });
        return [];
    }

    return Fanout::JSON::decode($said);
}


# the value of a sample by its name and labels

sub value {
    my ($families, $name, %labels) = @_;

    $labels{zone} = 'app';

    for my $s (map { @{ $_->{samples} } } @$families) {
        my ($n, $l, $v) = @$s;

        return $v if $n eq $name && keys %$l == keys %labels
                     && !grep { !defined $labels{$_} || $l->{$_} ne $labels{$_} } keys %$l;
    }

    return undef;
}


my @clients = map { $nginx->native(worker => $pids[1]) } 1 .. 3;

$_->ok('join', channel => 'room:1') for @clients;

$one->post('/fanout/channels/room:1/messages', '"xy"') for 1 .. 5;
$two->post('/fanout/channels/q%22b%5Cs:1/messages', '1') for 1 .. 2;

ok(wait_for(sub {
    my $s = $one->get('/status')->json;
    my ($w) = grep { $_->{pid} == $pids[1] } @{ $s->{workers} };
    return $w->{sessions} == 3 && $s->{counters}{delivered} == 15;
}), 'the workers are at rest');


for my $format (qw( prometheus openmetrics )) {
    subtest $format => sub {
        my $r = $one->get("/status?format=$format");
        my $j = $one->get('/status')->json;
        my $p = parse($format, $r->{body});

        is($r->{status}, 200);
        like($r->{headers}{'content-type'},
             $format eq 'prometheus' ? qr{^text/plain; version=0\.0\.4; charset=utf-8$}
             : qr{^application/openmetrics-text; version=1\.0\.0; charset=utf-8$}, 'type');

        cmp_ok(@$p, '>', 90, 'families: ' . @$p) or return;

        my %seen;
        is(scalar(grep { $seen{ $_->{name} }++ } @$p), 0, 'each once');
        is(scalar(grep { $_->{type} !~ /^(?:counter|gauge|info|histogram)$/ } @$p), 0, 'each has a type');
        is(scalar(grep { $_->{text} !~ /\S/ } @$p), 0, 'and a text');
        is(scalar(grep { $_->{name} !~ /^nginx_fanout(?:_[a-z_]+)?$/ } @$p), 0, 'and a good name');

        # a counter of the source is there by itself

        for my $name (sort keys %{ $j->{counters} }) {
            next if $name eq 'turns';   # goes on meanwhile

            is(value($p, "nginx_fanout_${name}_total"), $j->{counters}{$name}, $name);
            is(value($p, "nginx_fanout_worker_${name}_total", worker => $_->{slot}),
               $_->{counters}{$name}, "$name of worker $_->{slot}") for @{ $j->{workers} };
        }

        my $z = $j->{zone};
        my $size = $z->{block_size};

        is(value($p, 'nginx_fanout_zone_size_bytes'), $z->{blocks} * $size, 'size');
        is(value($p, 'nginx_fanout_zone_free_bytes'), $z->{free} * $size, 'free');
        is(value($p, 'nginx_fanout_zone_used_bytes', kind => $_), $z->{used}{$_} * $size,
           "used for $_") for sort keys %{ $z->{used} };
        is(value($p, 'nginx_fanout_zone_channels'), $z->{channels}, 'channels');
        is(value($p, 'nginx_fanout_zone_entries_total'), $z->{seq}, 'entries');

        for my $w (@{ $j->{workers} }) {
            is(value($p, 'nginx_fanout_worker_pid', worker => $w->{slot}), $w->{pid}, 'pid');
            is(value($p, 'nginx_fanout_worker_sessions', worker => $w->{slot}),
               $w->{sessions}, 'sessions');
            is(value($p, 'nginx_fanout_worker_memory_base_bytes', worker => $w->{slot}),
               $w->{memory_base}, 'memory');
        }

        is(value($p, 'nginx_fanout_info', version => $j->{version}, nginx => $j->{nginx}), 1,
           'versions');

        # labels: quotes, backslashes, what is no UTF-8, and what was cut

        is(value($p, 'nginx_fanout_class_messages_total', class => 'room:*'), 5, 'a class');
        is(value($p, 'nginx_fanout_class_message_bytes_total', class => 'room:*'), 20, 'bytes');
        is(value($p, 'nginx_fanout_class_messages_total', class => 'q"b\\s:*'), 2,
           'a class that has to be escaped');
        is(value($p, 'nginx_fanout_class_channels', class => "\x{e9}t\x{e9}:*"), 0, 'UTF-8');
        is(value($p, 'nginx_fanout_class_channels', class => '??:*'), 0, 'no UTF-8');
        is(value($p, 'nginx_fanout_class_channels', class => 'u' x 63), 0, 'cut');
    };
}


subtest 'Accept' => sub {
    my %type = (
        # Prometheus 2 and 3, a browser, and odd ones
        'application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1'
            => 'application/openmetrics-text',
        'application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;'
            . 'q=0.6,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,'
            . 'text/plain;version=1.0.0;q=0.4,*/*;q=0.2' => 'application/openmetrics-text',
        'text/plain;version=0.0.4;q=0.5,*/*;q=0.1'       => 'text/plain',
        'text/plain;version=0.0.4'                       => 'text/plain',
        'TEXT/PLAIN ; q=1.0'                             => 'text/plain',
        'text/plain;q=0.2, application/json ;q=0.9'      => 'application/json',
        'text/plain;q=0, */*'                            => 'application/json',
        'text/html,application/xhtml+xml,*/*;q=0.8'      => 'text/html',
        'text/plain;q=x'                                 => 'application/json',
        ';q=1,,;'                                        => 'application/json',
        '*/*'                                            => 'application/json',
    );

    for my $accept (sort keys %type) {
        my $r = $one->get('/status', headers => { Accept => $accept });

        like($r->{headers}{'content-type'}, qr/^\Q$type{$accept}\E(?:;|$)/, $accept);
        is($r->{headers}{vary}, 'Accept', 'Vary');
    }

    my $r = $one->head('/status?format=prometheus');
    is($r->{status}, 200, 'HEAD');
    is($r->{body}, '', 'without a body');
};


subtest 'counters never go back' => sub {
    my $before = value(parse('prometheus', $two->get('/status?format=prometheus')->{body}),
                       'nginx_fanout_delivered_total');

    $nginx->kill_worker($pids[1]);

    ok(wait_for(sub { $one->get('/status')->json->{zone}{reaped} == 1 }), 'a worker has died');

    my $p = parse('prometheus', $one->get('/status?format=prometheus')->{body});

    is(value($p, 'nginx_fanout_delivered_total'), $before, 'what it counted is kept');
    is(value($p, 'nginx_fanout_zone_reaped_total'), 1, 'and that it died');
};
