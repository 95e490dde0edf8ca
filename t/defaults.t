#!/usr/bin/env perl

# What docs/directives.md says of defaults and of units against the source and a
# running server. If this fails, somebody who has not set a directive relies on a
# figure that is another.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::Nginx;


sub slurp {
    my ($path) = @_;

    open my $f, '<', "$FindBin::Bin/../$path" or die "$path: $!";
    local $/;

    return readline $f;
}

my $doc    = slurp('docs/directives.md');
my $module = slurp('src/ngx_http_fanout_module.c');
my @files  = glob "$FindBin::Bin/../src/*.c $FindBin::Bin/../src/*/*.[ch]";
my $source = join '', map { slurp(s{^\Q$FindBin::Bin\E/../}{}r) } @files;

sub section {
    my ($name) = @_;
    return $doc =~ /^## $name\n(.*?)(?=^## |\z)/ms ? $1 : die "no $name";
}

# a value of the documentation as NGINX reads it, a time in ms

sub number {
    my ($text) = @_;

    return { on => 1, off => 0 }->{$text} // do {
        my ($n, $unit) = $text =~ /^(\d+)([a-z]*)$/ or return $text;

        $n * { '' => 1, k => 1024, ms => 1, s => 1000,
               m => $text =~ /^\d+m$/ ? 60_000 : 1 }->{$unit};
    };
}

sub constant {
    my ($name) = @_;
    my ($value) = $source =~ /define \Q$name\E +(.*?) *(?:\/\*.*)?$/m
        or die "no $name";

    return eval $value;
}


# directives: what they are merged with at last

subtest 'directives' => sub {
    my %merged = $module
        =~ /ngx_conf_(?:merge|init)_\w*value\(\w+->(\w+), (?:prev->\w+, )?\s*([\d* ]+)\);/g;
    my %member = map { /ngx_string\("(fanout\w*)"\).*?offsetof\(\w+, (\w+)\)/s
                       ? ($1 => $2) : () }
                 split /^    \{ (?=ngx_string\("fanout)/m, $module;

    # those with setters of their own

    $member{fanout_sessions_per_address} = 'per_address';

    my $n = 0;

    for my $name (sort keys %member) {
        next if !exists $merged{ $member{$name} };

        my ($default) = section($name) =~ /^\| Default \| (.*?) \|$/m;
        my $here = eval $merged{ $member{$name} };

        if ($default eq "\x{2013}" || $default eq '–') {
            is($here, 0, "$name: none");

        } else {
            my ($value) = $default =~ /^`$name (\S+);`$/;
            is($here, number($value // 'missing'), "$name $value");
        }

        $n++;
    }

    cmp_ok($n, '>=', 20, 'they were compared');

    my ($rate, $burst) = section('fanout_rate')
        =~ /^\| Default \| `fanout_rate (\d+)r\/s burst=(\d+);` \|$/m;

    is("$rate $burst", "$merged{rate} $merged{burst}", 'fanout_rate');

    my ($transports) = section('fanout_transports')
        =~ /^\| Default \| `fanout_transports (.*);` \|$/m;
    my ($bits) = $module =~ /conf->transports, prev->transports,(.*?);/s;

    is(join(' ', map { lc } $bits =~ /FANOUT_(\w+)/g), $transports,
       'fanout_transports');
    like($module, qr/conf->dialect, prev->dialect,\s+&fanout_native\)/,
         'fanout_dialect');
    like(section('fanout_dialect'),
         qr/^\| Default \| `fanout_dialect native;` \|$/m, 'is said to be that');
};


# parameters: "`32` by default", or the table of shares

sub said {
    my ($directive, $name) = @_;
    my ($text) = section($directive)
        =~ /^- \*\*`\Q$name\E=[^*]*\*\*(.*?)(?=^- \*\*|\n\n)/ms;

    die "$directive $name=" if !$text;

    my ($value) = $text =~ /\b(\d[\d,]*|\d+[a-z]+)\s+(?:seconds\s+)?by\s+default\b/
                  ? $1 : $text =~ /`(\d+\w*%?)`(?:,)?\s+(?:is the default|by\s+default)/
                  ? $1 : '';

    return $value =~ s/,//gr;
}

my $nginx = Fanout::Nginx->start(
    http => <<'END',
        fanout_zone app  64m;
        fanout_zone tiny 2m;
        fanout_channel app * presence=on;
END
    server => <<'END',
        location /app  { fanout_status app; }
        location /tiny { fanout_status tiny; }
        location /rt   { fanout app; fanout_permit all *; }
        location /hook { return 204; }
        fanout_hook app  /hook connect publish;
        fanout_hook tiny /hook connect;
END
);

my $app  = $nginx->http->get('/app')->json;
my $tiny = $nginx->http->get('/tiny')->json;


subtest 'fanout_zone' => sub {
    my $zone = $app->{zone};

    is(said('fanout_zone', $_), $zone->{limits}{$_}, $_)
        for qw( slots idle dedupe );
    is(number(said('fanout_zone', 'frames') =~ s/m$/000k/r) / 1000,
       $zone->{limits}{frames} / 1024, 'frames');

    # shares are of 10,000

    my $percent = sub { sprintf '%.0f', 100 * $_[0] / $zone->{blocks} };

    is(said('fanout_zone', 'held'), $percent->($zone->{held_max}) . '%', 'held');

    my %shares = section('fanout_zone')
        =~ /^\| `(\w+)` \| `(\d+%-\d+%)` \|/mg;

    is_deeply(\%shares,
              { map { my $s = $zone->{shares}{$_};
                      ($_ => $percent->($s->{min}) . '%-'
                             . $percent->($s->{max}) . '%') }
                keys %{ $zone->{shares} } }, 'shares');

    my $sum = 0;

    $sum += $_->{min} for @{ $app->{classes} };

    my ($history) = section('fanout_zone') =~ /^\| `history` \| `(\d+%)` /m;

    is($history, $percent->($sum) . '%', 'history');

    for my $part (qw( address user )) {
        my ($said) = section('fanout_zone')
            =~ /`$part=percent`.*?; `(\d+)%`\s+by\s+default/s;
        my ($max) = slurp('src/conf/share.c')
            =~ /${part}_max = (\d+);/;

        is($said, $max, $part);
    }
};


subtest 'fanout_channel' => sub {
    my ($class) = grep { $_->{pattern} eq '*' } @{ $app->{classes} };
    my $limits  = $class->{limits};

    is($limits->{members}, undef, 'members: none');
    is(said('fanout_channel', 'keys'), $limits->{keys}, 'keys');
    is(said('fanout_channel', 'changes'), $limits->{changes} / 1024 . 'k',
       'changes');
    is(said('fanout_channel', 'linger'),
       constant('FANOUT_LINGER') . 's', 'linger');
    is(said('fanout_channel', 'batch'),
       constant('FANOUT_BATCH') . 'ms', 'batch');

    # none but this is set: the zone has its own for the others

    is(said('fanout_channel', 'records_max'), constant('FANOUT_RECORDS_MAX'),
       'records_max');
    is(said('fanout_channel', 'locks_max'), constant('FANOUT_LOCKS_MAX'), 'locks_max');
    is(said('fanout_channel', 'fields'), constant('FANOUT_ZONE_FIELDS'), 'fields');
    is(said('fanout_channel', 'record'), constant('FANOUT_ZONE_RECORD') / 1024 . 'k',
       'record');
};


subtest 'fanout_hook' => sub {
    my $conf = slurp('src/conf/hook.c');
    my ($queue) = section('fanout_hook')
        =~ /Events wait in the\s+zone: ([\d,]+) by\s+default/;
    my ($each) = section('fanout_hook') =~ /([\d,]+) for each megabyte/;

    is($queue =~ s/,//r, $app->{zone}{events_limit}, 'queue of events');
    is(2 * $each, $tiny->{zone}{events_limit} - 1, 'in a small zone');

    my ($asks) = section('fanout_hook')
        =~ /Publishes\s+wait\s+in\s+each\s+worker: ([\d,]+) by\s+default/;

    is($asks =~ s/,//r, $app->{zone}{limits}{asks}, 'queue of publishes');

    my ($timeout) = $conf =~ /callee\.timeout = (\d+);/;
    my ($retry)   = $conf =~ /hook->retry = (\d+);/;
    my ($limit)   = $conf =~ /callee\.limit = (\d+) \* 1024;/;
    my ($calls)   = $conf =~ /hook->calls = (\d+);/;

    is(number(said('fanout_hook', 'timeout')), $timeout, 'timeout');
    is(number(said('fanout_hook', 'retry')), $retry, 'retry');
    is(said('fanout_hook', 'limit'), $limit / 1024 . 'm', 'limit');
    is(said('fanout_hook', 'calls'), $calls, 'calls');
    is(said('fanout_hook', 'batch'), constant('FANOUT_HOOK_CALLS'),
       'batch');
};


# which times may have ms

subtest 'units' => sub {
    my ($text) = $doc =~ /^(Times are .*?)\n\n/ms;

    ok($text, 'there is a paragraph about them') or return;

    my ($seconds) = $text =~ /whole\s+seconds:(.*?)\./s;
    my ($minutes) = $text =~ /whole\s+minutes:(.*?)\./s;
    my %unit;

    $unit{$_} = 's' for $seconds =~ /`(\w+)=?`/g;
    $unit{$_} = 'm' for $minutes =~ /`(\w+)=?`/g;

    my %times = (
        (map { ($_ => "fanout_zone z 2m $_=") } qw( idle dedupe )),
        (map { ($_ => "fanout_channel app x history=1 presence=on $_=") }
             qw( ttl linger batch expire seen locks )),
        (map { ($_ => ['server', "fanout_hook tiny /hook publish $_="]) }
             qw( timeout )),
        wait => ['server', 'fanout_jwt secret=0123456789abcdef from=command wait='],
        cache => ['server', 'fanout_authorize /may join cache='],
        leeway => ['server', 'fanout_jwt secret=0123456789abcdef leeway='],
        records_ttl => 'fanout_channel app x records=on records_ttl=',
        retry => ['server', 'fanout_hook tiny /hook connect retry='],
        flush => ['server', 'fanout_log x buffer=4k flush='],
        burst => ['server', 'fanout_budget user burst='],
        (map { ($_ => ['server', "$_ "]) }
             map { "fanout_$_" }
             qw( ping timeout send_timeout resume drain retry poll_timeout
                 session_max expiring )),
    );

    # every directive and parameter whose syntax says "time"

    my %said = map { $_ => 1 } map { /\b(\w+)=time\b/g }
               $doc =~ /^\| Syntax \| (.*) \|$/mg;

    $said{$_} = 1 for $doc =~ /^\| Syntax \| `(\w+) time;` \|$/mg;

    is_deeply([ grep { !$times{$_} } sort keys %said ], [], 'all are tried');

    for my $name (sort keys %times) {
        my ($where, $line) = ref $times{$name} ? @{ $times{$name} }
                                               : ('http', $times{$name});
        my $unit = $unit{$name} // 'ms';
        my %takes;

        for my $value ('1500ms', '61s', '2m') {
            my ($failed, $said) = check($where, "$line$value;");

            $takes{$value} = $said !~ /\Q$value\E|must be/ ? 1 : 0;
        }

        is("$takes{'1500ms'} $takes{'61s'}",
           $unit eq 'ms' ? ($name eq 'batch' ? '1 0' : '1 1')
           : $unit eq 's' ? '0 1' : '0 0', "$name: $unit");
    }
};

sub check {
    my ($where, $line) = @_;

    my $dir  = $nginx->dir;
    my $text = $nginx->expand($nginx->template);

    $where eq 'http' ? $text =~ s/(fanout_channel app \*)/$line $1/
                     : $text =~ s/(fanout_hook app)/$line $1/;

    $text =~ s/fanout_hook tiny \/hook connect;//;

    open my $f, '>', "$dir/test.conf" or die "test.conf: $!";
    print $f $text;
    close $f;

    my $said = qx{@{[ Fanout::Nginx::binary() ]} -t -p $dir -c $dir/test.conf -e $dir/test.log 2>&1};

    return ($? >> 8, $said =~ s/^.*\[warn\].*\n//mgr);
}
